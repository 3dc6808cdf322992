package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo"
)

const (
	// nodeEnv makes the test program a node of BenchmarkProcesses.
	nodeEnv = "DYNAMO_BENCH_NODE"

	benchKeys  = 10_000
	benchValue = 100 // bytes
)

// job is one line to a node of BenchmarkProcesses: so many operations from so
// many callers. done is its answer.
const (
	jobFormat  = "%s %d callers %d ops\n"
	doneFormat = "done cpu %d ns\n"
)

// benchNode is the other side of BenchmarkProcesses: a node that embeds what
// its callers use, in a process of its own.
func benchNode(in io.Reader, out io.Writer, id, engine, seed string) error {
	cfg := dynamo.DefaultConfig()
	cfg.StorageEngine = engine
	cfg.GossipInterval, cfg.LayoutDelay = 200*time.Millisecond, 200*time.Millisecond
	if seed != "" {
		cfg.Seeds = []string{seed}
	}
	node, err := dynamo.NewNode(id, "127.0.0.1:0", cfg)
	if err != nil {
		return err
	}
	if err := node.Start(); err != nil {
		return err
	}
	defer func() { _ = node.Stop() }()
	if _, err := fmt.Fprintln(out, node.Addr()); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var op string
		var callers, ops int64
		if _, err := fmt.Sscanf(lines.Text()+"\n", jobFormat, &op, &callers, &ops); err != nil {
			return err
		}
		if op == "flood" { // callers is the rate
			answer, err := json.Marshal(flood(node, callers, ops))
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(out, "%s\n", answer); err != nil {
				return err
			}
			continue
		}
		used, err := runJob(node, op, callers, ops)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, doneFormat, used); err != nil {
			return err
		}
	}
	return lines.Err()
}

// runJob returns the CPU time that this process has used meanwhile.
func runJob(node *dynamo.Node, op string, callers, ops int64) (time.Duration, error) {
	ctx := context.Background()
	value := make([]byte, benchValue)
	do := map[string]func(key string) error{
		"ready": func(string) error { return node.Ready(ctx) },
		"put": func(key string) error {
			_, err := node.Put(ctx, key, value, nil, dynamo.Overwrite())
			return err
		},
		"get": func(key string) error {
			_, err := node.Get(ctx, key)
			return err
		},
	}[op]
	before, err := cpuOf(syscall.RUSAGE_SELF)
	if err != nil {
		return 0, err
	}
	var next atomic.Int64
	errs := make(chan error, callers)
	for range callers {
		go func() {
			for i := next.Add(1); i <= ops; i = next.Add(1) {
				if err := do(fmt.Sprint("key-", i%benchKeys)); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range callers {
		if err := <-errs; err != nil {
			return 0, err
		}
	}
	after, err := cpuOf(syscall.RUSAGE_SELF)
	return after - before, err
}

func cpuOf(who int) (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(who, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// worker is a node in a process of its own, as the benchmark sees it.
type worker struct {
	b    *testing.B
	in   io.Writer
	out  *bufio.Reader
	addr string
}

func startWorker(b *testing.B, id, engine, seed string) *worker {
	b.Helper()
	cmd := exec.Command(os.Args[0], id, engine, seed) //nolint:gosec,noctx // this very program; it ends with its input
	cmd.Dir = b.TempDir()
	cmd.Env = append(os.Environ(), nodeEnv+"=1")
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
			b.Errorf("node %s: %v", id, err)
		}
	})
	w := &worker{b: b, in: in, out: bufio.NewReader(out)}
	w.addr = strings.TrimSpace(w.line())
	return w
}

// startTrio starts three nodes of one cluster that hold benchKeys keys.
func startTrio(b *testing.B, engine string) (workers []*worker) {
	b.Helper()
	seed := ""
	for _, id := range []string{"n1", "n2", "n3"} {
		workers = append(workers, startWorker(b, id, engine, seed))
		seed = workers[0].addr
	}
	for _, w := range workers {
		w.begin("ready", 1, 1)
		w.end()
	}
	workers[0].begin("put", 64, benchKeys)
	workers[0].end()
	return workers
}

func (w *worker) line() string {
	w.b.Helper()
	line, err := w.out.ReadString('\n')
	if err != nil {
		w.b.Fatal(err)
	}
	return line
}

// begin hands the worker a job; end returns the CPU time that it took.
func (w *worker) begin(op string, callers, ops int64) {
	w.b.Helper()
	if _, err := fmt.Fprintf(w.in, jobFormat, op, callers, ops); err != nil {
		w.b.Fatal(err)
	}
}

func (w *worker) end() time.Duration {
	w.b.Helper()
	var used int64
	if _, err := fmt.Sscanf(w.line(), doneFormat, &used); err != nil {
		w.b.Fatal(err)
	}
	return time.Duration(used)
}

// BenchmarkProcesses: N=3, R=W=2, values of 100 bytes, three nodes in
// processes of their own over loopback, callers in each. CPU µs an operation
// are summed over the three processes, their callers included.
func BenchmarkProcesses(b *testing.B) {
	for _, engine := range []string{"memory", "pebble"} {
		workers := startTrio(b, engine)
		for _, op := range []string{"put", "get"} {
			for _, callers := range []int{3, 9, 63} {
				b.Run(fmt.Sprintf("%s/%s/callers=%d", op, engine, callers), func(b *testing.B) {
					share := (int64(b.N) + int64(len(workers)) - 1) / int64(len(workers))
					for _, w := range workers {
						w.begin(op, int64(callers/len(workers)), share)
					}
					used := time.Duration(0)
					for _, w := range workers {
						used += w.end()
					}
					ops := float64(share * int64(len(workers)))
					b.ReportMetric(float64(used.Nanoseconds())/1e3/ops, "cpu-µs/op")
					b.ReportMetric(ops/b.Elapsed().Seconds(), "ops/s")
				})
			}
		}
	}
}
