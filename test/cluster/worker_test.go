package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/transport/grpcstream"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// nodeEnv makes the test program a node of a benchmark: a process that embeds
// what its callers use. Its value is a workerSpec.
const nodeEnv = "DYNAMO_BENCH_NODE"

// profileEnv names a folder in which each node of a benchmark leaves a CPU
// profile of its every job of puts or gets: NODE-OP-NUMBER.pprof, for go tool
// pprof, which adds up as many as it is given.
const profileEnv = "DYNAMO_BENCH_PROFILES"

// benchKeys is how many keys the callers share.
const benchKeys = 10_000

// workerSpec says what node a worker is.
type workerSpec struct {
	ID, Engine, Seed string
}

// job is one line to a worker, and jobReport the line that it answers with.
type job struct {
	Op           string // "ready", "put", "get", "usage", "echo", "flood"
	Callers, Ops int
	ValueBytes   int
	Peer         string // of "echo": where the replies go
	Rate         int    // of "flood": puts a second
}

type jobReport struct {
	Addr    string // at the beginning: the node's; of "echo": the transport's
	CPU     time.Duration
	Mallocs uint64
	P50     time.Duration // of one operation, as its caller sees it
	Flood   flooded       // of "flood"
	Failed  string
}

// workerMain is the other side of startWorker.
func workerMain(spec string, in io.Reader, out io.Writer) error {
	var s workerSpec
	if err := json.Unmarshal([]byte(spec), &s); err != nil {
		return err
	}
	cfg := config()
	cfg.StorageEngine = s.Engine
	cfg.GossipInterval, cfg.LayoutDelay = 200*time.Millisecond, 200*time.Millisecond
	if s.Seed != "" {
		cfg.Seeds = []string{s.Seed}
	}
	node, err := dynamo.NewNode(s.ID, "127.0.0.1:0", cfg)
	if err != nil {
		return err
	}
	if err := node.Start(); err != nil {
		return err
	}
	defer func() { _ = node.Stop() }()
	reports := json.NewEncoder(out)
	if err := reports.Encode(jobReport{Addr: node.Addr()}); err != nil {
		return err
	}
	jobs := json.NewDecoder(in)
	for n := 0; ; n++ {
		var j job
		if err := jobs.Decode(&j); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		r, err := j.profiled(node, fmt.Sprintf("%s-%s-%d.pprof", s.ID, j.Op, n))
		if err != nil {
			return err
		}
		r.CPU, r.Mallocs = usage()
		if err := reports.Encode(r); err != nil {
			return err
		}
	}
}

// usage returns what this process has used since it began.
func usage() (cpu time.Duration, mallocs uint64) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it has no errors but for wrong arguments
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), m.Mallocs
}

// profiled runs the job, with a profile of it where profileEnv asks for them.
func (j *job) profiled(node *dynamo.Node, name string) (jobReport, error) {
	dir := os.Getenv(profileEnv)
	if dir == "" || j.Callers == 0 {
		return j.run(node), nil
	}
	f, err := os.Create(filepath.Join(dir, name)) //nolint:gosec // where who runs the benchmark wants it
	if err != nil {
		return jobReport{}, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return jobReport{}, errors.Join(err, f.Close())
	}
	r := j.run(node)
	pprof.StopCPUProfile()
	return r, f.Close()
}

func (j *job) run(node *dynamo.Node) (r jobReport) {
	var err error
	ctx := context.Background()
	value := make([]byte, j.ValueBytes)
	switch j.Op {
	case "usage":
	case "ready":
		err = node.Ready(ctx)
	case "echo":
		r.Addr, err = echo(j.Peer)
	case "flood":
		r.Flood = flood(node, j)
	case "put":
		r.P50, err = callers(j.Callers, j.Ops, func(key string) error {
			_, err := node.Put(ctx, key, value, nil, dynamo.Overwrite())
			return err
		})
	case "get":
		r.P50, err = callers(j.Callers, j.Ops, func(key string) error {
			_, err := node.Get(ctx, key)
			return err
		})
	default:
		err = fmt.Errorf("there is no job %q", j.Op)
	}
	if err != nil {
		r.Failed = err.Error()
	}
	return r
}

// callers has that many callers share the operations. It returns the median
// time of one.
func callers(n, ops int, do func(key string) error) (p50 time.Duration, err error) {
	var next atomic.Int64
	errs := make([]error, n)
	took := make([][]time.Duration, n)
	var wg sync.WaitGroup
	for caller := range n {
		wg.Go(func() {
			took[caller] = make([]time.Duration, 0, 2*ops/n)
			for i := next.Add(1); i <= int64(ops) && errs[caller] == nil; i = next.Add(1) {
				began := time.Now()
				errs[caller] = do(benchKey(int(i)))
				took[caller] = append(took[caller], time.Since(began))
			}
		})
	}
	wg.Wait()
	all := slices.Concat(took...)
	if len(all) == 0 {
		return 0, errors.Join(errs...)
	}
	slices.Sort(all)
	return all[len(all)/2], errors.Join(errs...)
}

// allBenchKeys are made once, so that no operation makes its own.
var allBenchKeys = func() (keys [benchKeys]string) {
	for i := range keys {
		keys[i] = fmt.Sprint("key-", i)
	}
	return keys
}()

func benchKey(i int) string { return allBenchKeys[i%benchKeys] }

// echoer answers every request of a peer at once: the bare stream, without a
// database. Where it asks, replied has the replies.
type echoer struct {
	streams *grpcstream.Transport
	peer    string // that replies go to
	mono    func() time.Duration
	replied chan struct{}
}

func newEchoer(self id.Node) (*echoer, string, error) {
	began := time.Now()
	e := &echoer{mono: func() time.Duration { return time.Since(began) }, replied: make(chan struct{}, 1)}
	var err error
	if e.streams, err = grpcstream.New(grpcstream.Options{Self: self, Handler: e, Mono: e.mono}); err != nil {
		return nil, "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not wait
	if err != nil {
		return nil, "", err
	}
	go func() { _ = e.streams.Serve(l) }() // until it is closed
	return e, l.Addr().String(), nil
}

// echo lets this process answer those of a peer.
func echo(peer string) (addr string, err error) {
	e, addr, err := newEchoer("far")
	if err == nil {
		e.peer = peer
	}
	return addr, err
}

func (e *echoer) Deliver(in *core.Envelope) {
	if in.Reply {
		e.replied <- struct{}{}
		return
	}
	e.streams.Send(e.peer, &core.Envelope{
		From: in.To, To: in.From, Cluster: in.Cluster, Req: in.Req, Reply: true, Partition: in.Partition,
		Deadline: e.mono() + time.Minute, Msg: &core.Applied{},
	})
}

func (e *echoer) SendFailed(*core.Envelope) {}

// ask sends a value to a peer and waits for its reply.
func (e *echoer) ask(peer string, set version.Siblings) error {
	sent := e.streams.Send(peer, &core.Envelope{
		From: "near", To: "far", Cluster: 1, Req: 1, Deadline: e.mono() + time.Minute,
		Msg: &core.Apply{Key: []byte("a key of usual length"), Set: set},
	})
	if !sent {
		return errors.New("the outbox is full")
	}
	<-e.replied
	return nil
}

// worker is a node in a process of its own, as a benchmark sees it.
type worker struct {
	b    *testing.B
	in   *json.Encoder
	out  *json.Decoder
	addr string
}

// startWorkers starts three nodes and waits until they hold all keys.
func startWorkers(b *testing.B, engine string, valueBytes int) []*worker {
	b.Helper()
	var workers []*worker
	seed := ""
	for _, id := range []string{"n1", "n2", "n3"} {
		w := startWorker(b, workerSpec{ID: id, Engine: engine, Seed: seed})
		workers = append(workers, w)
		seed = workers[0].addr
	}
	for _, w := range workers {
		w.do(job{Op: "ready"})
	}
	workers[0].do(job{Op: "put", Callers: 64, Ops: benchKeys, ValueBytes: valueBytes})
	return workers
}

func startWorker(b *testing.B, s workerSpec) *worker {
	b.Helper()
	spec, err := json.Marshal(s)
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(os.Args[0]) //nolint:gosec,noctx // this very program; it ends with its input
	cmd.Dir = b.TempDir()
	cmd.Env = append(os.Environ(), nodeEnv+"="+string(spec))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close() // the end of its work
		if err := cmd.Wait(); err != nil {
			b.Errorf("node %s: %v", s.ID, err)
		}
	})
	w := &worker{b: b, in: json.NewEncoder(in), out: json.NewDecoder(bufio.NewReader(out))}
	w.addr = w.end().Addr
	return w
}

// begin hands the worker a job, end waits for its report.
func (w *worker) begin(j job) {
	w.b.Helper()
	if err := w.in.Encode(j); err != nil {
		w.b.Fatal(err)
	}
}

func (w *worker) end() jobReport {
	w.b.Helper()
	var r jobReport
	if err := w.out.Decode(&r); err != nil {
		w.b.Fatal(err)
	}
	if r.Failed != "" {
		w.b.Fatal(r.Failed)
	}
	return r
}

func (w *worker) do(j job) jobReport {
	w.b.Helper()
	w.begin(j)
	return w.end()
}

// used sums the CPU time of the workers' processes while work goes on, callers
// within them included.
func used(workers []*worker, work func()) (cpu time.Duration) {
	for _, w := range workers {
		cpu -= w.do(job{Op: "usage"}).CPU
	}
	work()
	for _, w := range workers {
		cpu += w.do(job{Op: "usage"}).CPU
	}
	return cpu
}
