//go:build unix

package engines_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/engines"
)

// What the comparison of engines stores: values of the size that the system's
// figures are stated for, and keys that are written again and again, so that
// compaction and merging are under way all the time.
const (
	compareKeys       = 100_000
	compareValueBytes = 1 << 10
	comparePool       = 4 << 20
)

// compared are the engines that are compared, next to each other in each
// measurement, since absolute figures of one machine move.
func compared() []string { return []string{"lss", "pebble"} }

func openCompared(b *testing.B, engine, dir string) storage.Engine {
	b.Helper()
	e, _, err := engines.Open(storage.Options{Engine: engine, Dir: dir, Node: "n1"})
	if err != nil {
		b.Fatal(err)
	}
	return e
}

// compareKey spreads the keys over the order. Its bytes are made by hand: with fmt
// it was a twentieth of what was measured of the engines.
func compareKey(n uint64) []byte {
	b := make([]byte, 0, len("bench/")+16)
	b = append(b, "bench/"...)
	n *= 0x9e3779b97f4a7c15
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[n>>shift&15])
	}
	return b
}

// compareValues are random bytes, any part of which is a value: hardly two in a
// block have anything in common, so none compresses away.
func compareValues() []byte {
	rng := rand.New(rand.NewPCG(1, 1))
	b := make([]byte, 0, comparePool+compareValueBytes)
	for len(b) < cap(b) {
		b = binary.LittleEndian.AppendUint64(b, rng.Uint64())
	}
	return b
}

// cpu is the time that the process has spent on processors.
func cpu(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// measure reports the rate and the processor time of b.N operations.
func measure(b *testing.B, e storage.Engine, run func()) {
	runtime.GC()
	before, spent := e.Stats(), cpu(b)
	b.ResetTimer()
	run()
	b.StopTimer()
	spent = cpu(b) - spent
	after := e.Stats()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64(spent.Nanoseconds())/1e3/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(after.Compactions-before.Compactions), "merges")
	b.ReportMetric(float64((after.Stalled - before.Stalled).Milliseconds()), "stalled-ms")
}

// put writes keys 0 … n-1, or n writes to random ones, by several writers.
func putMany(b *testing.B, e storage.Engine, d core.Durability, writers, n int, random bool) {
	values := compareValues()
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 2))
			done := make(chan error, 1)
			complete := func(err error) { done <- err }
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				k := uint64(i)
				if random {
					k = rng.Uint64N(compareKeys)
				}
				at := rng.IntN(comparePool)
				value := values[at : at+compareValueBytes : at+compareValueBytes]
				e.Commit([]core.Write{{Key: compareKey(k), Value: value}}, d, complete)
				if err := <-done; err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func sync1(b *testing.B, e storage.Engine) {
	b.Helper()
	done := make(chan error, 1)
	e.Commit(nil, core.Sync, func(err error) { done <- err })
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkCompare sets the engines beside each other: overwrites of a store
// of 100 MiB, in which each compacts or merges as it goes, and gets of it.
func BenchmarkCompare(b *testing.B) {
	each := func(name string, run func(b *testing.B, e storage.Engine)) {
		for _, engine := range compared() {
			b.Run(name+"/"+engine, func(b *testing.B) {
				e := openCompared(b, engine, b.TempDir())
				putMany(b, e, core.NoSync, 1, compareKeys, false)
				sync1(b, e)
				measure(b, e, func() { run(b, e) })
				if err := e.Close(); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
	for _, writers := range []int{1, 16, 64} {
		each(fmt.Sprintf("PutSync/%d", writers), func(b *testing.B, e storage.Engine) {
			putMany(b, e, core.Sync, writers, b.N, true)
		})
	}
	each("PutNoSync", func(b *testing.B, e storage.Engine) { putMany(b, e, core.NoSync, 1, b.N, true) })
	for _, readers := range []int{1, 16} {
		each(fmt.Sprintf("Get/%d", readers), func(b *testing.B, e storage.Engine) { getMany(b, e, readers) })
	}
}

func getMany(b *testing.B, e storage.Engine, readers int) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for r := range readers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(r), 3))
			for next.Add(1) <= int64(b.N) {
				if _, err := e.Get(compareKey(rng.Uint64N(compareKeys))); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkReopen opens a store of a million keys of 1 KiB as kill -9 left it.
// The engine's folder is taken away from under it, so that what it does when
// it is closed does not count. It is for -benchtime=1x.
func BenchmarkReopen(b *testing.B) {
	const keys = 1_000_000
	for _, engine := range compared() {
		b.Run(engine, func(b *testing.B) {
			dir := b.TempDir()
			live, killed := filepath.Join(dir, "live"), filepath.Join(dir, "killed")
			e := openCompared(b, engine, live)
			putMany(b, e, core.NoSync, 1, keys, false)
			sync1(b, e)
			if err := os.Rename(live, killed); err != nil {
				b.Fatal(err)
			}
			_ = e.Close() // it cannot, and is not to
			spent := cpu(b)
			b.ResetTimer()
			e = openCompared(b, engine, killed)
			b.StopTimer()
			b.ReportMetric(float64((cpu(b) - spent).Milliseconds()), "cpu-ms/open")
			b.ReportMetric(b.Elapsed().Seconds()*1000, "ms/open")
			for range 1000 {
				if _, err := e.Get(compareKey(rand.Uint64N(keys))); err != nil {
					b.Fatal(err)
				}
			}
			if err := e.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
