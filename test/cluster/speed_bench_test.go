package cluster

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/server"
	"github.com/dynamo-kv/dynamo/internal/transport/mux"
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
				b.Run(op+"/http", func(b *testing.B) { overHTTP(b, workers, nodesOf(workers), op, c.bytes) })
				b.Run(op+"/bare-http", func(b *testing.B) { overHTTP(b, workers, bareServers(workers, c.bytes), op, c.bytes) })
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

func nodesOf(workers []*worker) (addrs []string) {
	for _, w := range workers {
		addrs = append(addrs, w.addr)
	}
	return addrs
}

// bareServers returns servers in the workers' processes that answer as nodes do,
// and are none: what net/http itself costs.
func bareServers(workers []*worker, size int) (addrs []string) {
	for _, w := range workers {
		addrs = append(addrs, w.do(job{Op: "bare-http", ValueBytes: size}).Addr)
	}
	return addrs
}

// bareHTTP answers HTTP behind the same splitting of connections as a node, with
// the same headers and values, until the process ends.
func bareHTTP(value []byte) (addr string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not wait
	if err != nil {
		return "", err
	}
	s := &http.Server{
		ReadHeaderTimeout: time.Minute, ReadTimeout: time.Minute, WriteTimeout: time.Minute, IdleTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set(server.HeaderRequestID, "d1f0a6b5c4e39287")
			h.Set(server.HeaderContext, "ATLG13_Eo3MJAQECbjGSfsIilq3_sgUBAIS_slw")
			h.Set(server.HeaderAcknowledged, "2")
			h.Set(server.HeaderRequired, "2")
			h.Set(server.HeaderQuorum, "replicas=2; fallbacks=0; required=2")
			if r.Method == http.MethodPut {
				_, _ = io.ReadFull(r.Body, make([]byte, r.ContentLength))
				w.WriteHeader(http.StatusNoContent)
				return
			}
			h.Set("Content-Type", "application/octet-stream")
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Content-Length", strconv.Itoa(len(value)))
			h.Set(server.HeaderTimestamp, "2026-11-26T16:44:15.260123456Z")
			_, _ = w.Write(value)
		}),
	}
	go func() { _ = s.Serve(mux.New(l, slog.New(slog.DiscardHandler)).HTTP1()) }()
	return l.Addr().String(), nil
}

// overHTTP: 64 connections of this process, spread over the addresses; the CPU
// time is that of the workers alone.
func overHTTP(b *testing.B, workers []*worker, addrs []string, op string, size int) {
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
		errs := make(chan error, len(addrs))
		for i, addr := range addrs {
			go func() {
				_, err := callers(share(64, i), share(b.N, i), func(key string) error { return do(addr, key) })
				errs <- err
			}()
		}
		for range addrs {
			if err := <-errs; err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
	})
	reportCPU(b, cpu)
}
