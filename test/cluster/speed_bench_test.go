package cluster

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/version"
)

// BenchmarkSpeed is the table of docs/performance.md: N=3, R=W=2, three nodes
// in processes of their own over loopback, 10,000 keys. CPU µs an operation are
// summed over the three processes.
func BenchmarkSpeed(b *testing.B) {
	for _, c := range []struct {
		engine string
		bytes  int
	}{{"memory", 100}, {"pebble", 1024}} {
		b.Run(fmt.Sprintf("%s/%dB", c.engine, c.bytes), func(b *testing.B) {
			workers := startWorkers(b, c.engine, c.bytes)
			for _, op := range []string{"put", "get"} {
				b.Run(op+"/embedded", func(b *testing.B) { embeddedCallers(b, workers, op, c.bytes) })
				b.Run(op+"/coordinator", func(b *testing.B) { oneCoordinator(b, workers, op, c.bytes) })
				b.Run(op+"/one-caller", func(b *testing.B) { oneCaller(b, workers, op, c.bytes) })
				b.Run(op+"/client", func(b *testing.B) { overClient(b, workers, op, c.bytes) })
				b.Run(op+"/http", func(b *testing.B) { overHTTP(b, workers, op, c.bytes) })
			}
		})
	}
}

// embeddedCallers: 64 callers, spread over the processes of the nodes, whose
// CPU time has theirs in it.
func embeddedCallers(b *testing.B, workers []*worker, op string, size int) {
	cpu := used(workers, func() {
		b.ResetTimer()
		for i, w := range workers {
			w.begin(job{Op: op, Callers: share(64, i), Ops: share(b.N, i), ValueBytes: size})
		}
		for _, w := range workers {
			w.end()
		}
		b.StopTimer()
	})
	reportCPU(b, cpu)
}

// share is what falls to the i-th of three workers.
func share(n, i int) int { return (n + i) / 3 }

func reportCPU(b *testing.B, cpu time.Duration) {
	b.ReportMetric(float64(cpu.Nanoseconds())/1e3/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

// oneCoordinator: 64 callers of one node, which coordinates all of it. The
// allocations are those of its process.
func oneCoordinator(b *testing.B, workers []*worker, op string, size int) {
	before := workers[0].do(job{Op: "usage"}).Mallocs
	after := workers[0].do(job{Op: op, Callers: 64, Ops: b.N, ValueBytes: size}).Mallocs
	b.ReportMetric(float64(after-before)/float64(b.N), "coordinator-allocs/op")
}

// oneCaller: the median time of an operation that nothing runs beside, and how
// many times it is that of a bare batched stream's round trip with the same
// value, measured right before.
func oneCaller(b *testing.B, workers []*worker, op string, size int) {
	near, nearAddr, err := newEchoer("near")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = near.streams.Close() })
	far := workers[1].do(job{Op: "echo", Peer: nearAddr}).Addr
	actor := version.Actor{Node: "node-1", Epoch: version.Epoch{Start: 1 << 60, Seq: 12}}
	set, _ := version.Siblings{}.Put(version.Clock{}, actor, version.Write{ID: version.WriteID{1}, Data: make([]byte, size)})
	bare, err := callers(1, b.N, func(string) error { return near.ask(far, set) })
	if err != nil {
		b.Fatal(err)
	}
	p50 := workers[0].do(job{Op: op, Callers: 1, Ops: b.N, ValueBytes: size}).P50
	b.ReportMetric(float64(p50.Nanoseconds())/1e3, "p50-µs")
	b.ReportMetric(float64(bare.Nanoseconds())/1e3, "bare-p50-µs")
	b.ReportMetric(float64(p50)/float64(bare), "bare-round-trips")
}

// overHTTP: 64 connections of this process, spread over the nodes; the CPU time
// is that of the nodes alone.
func overHTTP(b *testing.B, workers []*worker, op string, size int) {
	transport := &http.Transport{MaxConnsPerHost: share(64, 2), MaxIdleConnsPerHost: share(64, 2)}
	b.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}
	value := make([]byte, size)
	do := func(addr, key string) error {
		method, body, query := http.MethodGet, io.Reader(nil), ""
		if op == "put" {
			method, body, query = http.MethodPut, bytes.NewReader(value), "?overwrite"
		}
		req, err := http.NewRequestWithContext(b.Context(), method, "http://"+addr+"/v1/kv/"+key+query, body)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return err
		}
		if resp.StatusCode >= http.StatusBadRequest {
			return fmt.Errorf("%s %s: %s", method, key, resp.Status)
		}
		return nil
	}
	cpu := used(workers, func() {
		b.ResetTimer()
		errs := make(chan error, len(workers))
		for i, w := range workers {
			go func() {
				_, err := callers(share(64, i), share(b.N, i), func(key string) error { return do(w.addr, key) })
				errs <- err
			}()
		}
		for range workers {
			if err := <-errs; err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
	})
	reportCPU(b, cpu)
}
