//go:build unix

package pebble

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// compressedKeys times compressedBytes are what a store of BenchmarkCompression
// holds: five times its cache.
const (
	compressedKeys  = 40_000
	compressedBytes = 1 << 10
)

// BenchmarkCompression is the table of docs/adr/0031: what a put costs, all
// flushes and compactions of a store that is overwritten twice included, what it
// takes of the disk at rest, and what a get costs that finds nothing in the cache.
func BenchmarkCompression(b *testing.B) {
	for _, values := range []struct {
		name string
		make func(n uint64) []byte
	}{{"random", randomValue}, {"documents", document}} {
		for _, p := range []*sstable.CompressionProfile{
			sstable.NoCompression, sstable.SnappyCompression, sstable.MinLZCompression, sstable.ZstdCompression,
			sstable.BalancedCompression,
		} {
			b.Run(values.name+"/"+p.Name, func(b *testing.B) { benchCompression(b, p, values.make) })
		}
	}
}

func benchCompression(b *testing.B, p *sstable.CompressionProfile, value func(n uint64) []byte) {
	rng := rand.New(rand.NewPCG(1, 1))
	values := make([][]byte, 1000) // some MiB, so that no block has the same one twice by luck
	for i := range values {
		values[i] = value(uint64(i))
	}
	var put, get, disk float64
	for range b.N {
		e, err := Open(Options{
			Dir: b.TempDir(), Create: true, FS: vfs.OS(), CacheBytes: 8 << 20, Logger: slog.New(slog.DiscardHandler), Compression: p,
		})
		if err != nil {
			b.Fatal(err)
		}
		const puts = 3 * compressedKeys
		put += perOp(b, puts, func() { overwrite(b, e, rng, values, puts) })
		if err := e.db.Compact(b.Context(), []byte("0"), []byte("g"), false); err != nil {
			b.Fatal(err)
		}
		m := e.db.Metrics()
		disk += float64(m.Levels[len(m.Levels)-1].TablesSize) / compressedKeys
		const gets = compressedKeys
		get += perOp(b, gets, func() {
			for range gets {
				if _, err := e.Get(compressedKey(rng.IntN(compressedKeys))); err != nil {
					b.Fatal(err)
				}
			}
		})
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(put/float64(b.N), "cpu-µs/put")
	b.ReportMetric(get/float64(b.N), "cpu-µs/get")
	b.ReportMetric(disk/float64(b.N), "disk-B/key")
}

// overwrite puts every key once, and then random ones, in batches as the loops
// of a node commit them.
func overwrite(b *testing.B, e *Engine, rng *rand.Rand, values [][]byte, puts int) {
	const batch = 16
	done := make(chan error, 1)
	for first := 0; first < puts; first += batch {
		writes := make([]core.Write, 0, batch)
		for i := first; i < first+batch; i++ {
			key := i
			if key >= compressedKeys {
				key = rng.IntN(compressedKeys)
			}
			writes = append(writes, core.Write{Key: compressedKey(key), Value: values[rng.IntN(len(values))]})
		}
		e.Commit(writes, core.NoSync, func(err error) { done <- err })
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

// compressedKey spreads the keys over the order, as positions on the ring do.
func compressedKey(n int) []byte {
	return fmt.Appendf(nil, "%016x/user-%d", uint64(n)*0x9e3779b97f4a7c15, n)
}

// randomValue does not compress: it is encrypted, an image, or compressed.
func randomValue(n uint64) []byte {
	rng := rand.New(rand.NewPCG(n, 1))
	v := make([]byte, 0, compressedBytes)
	for len(v) < compressedBytes {
		v = binary.LittleEndian.AppendUint64(v, rng.Uint64())
	}
	return v
}

// document is a shopping cart as JSON.
func document(n uint64) []byte {
	type item struct {
		Product  string  `json:"product"`
		Quantity int     `json:"quantity"`
		Price    float64 `json:"price"`
		Added    string  `json:"added"`
	}
	rng := rand.New(rand.NewPCG(n, 2))
	var items []item
	for {
		added := time.Unix(1_700_000_000+rng.Int64N(1e8), 0).UTC().Format(time.RFC3339)
		items = append(items, item{fmt.Sprintf("product-%08x", rng.Uint32()), 1 + rng.IntN(9), float64(rng.IntN(1e5)) / 100, added})
		doc, err := json.Marshal(map[string]any{"customer": fmt.Sprint("customer-", n), "items": items})
		if err != nil {
			panic(err) // it has nothing in it that cannot be
		}
		if len(doc) >= compressedBytes {
			return doc
		}
	}
}

// perOp returns the CPU time of one of that many operations, in µs, all that
// runs beside them included.
func perOp(b *testing.B, n int, run func()) float64 {
	before := cpuTime(b)
	run()
	return float64((cpuTime(b) - before).Nanoseconds()) / 1e3 / float64(n)
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
