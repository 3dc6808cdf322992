package storagetest

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

// What the benchmarks store: the values are of the size that the system's
// figures are stated for.
const (
	benchKeys       = 50_000
	benchValueBytes = 100
)

// Bench compares engines: synced puts by several writers, unsynced puts, gets
// and scans. For puts it reports how many commits shared an fsync.
func Bench(b *testing.B, open Open) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("PutSync/writers=%d", writers), func(b *testing.B) {
			benchPut(b, open(b), core.Sync, writers)
		})
	}
	b.Run("PutNoSync/writers=1", func(b *testing.B) { benchPut(b, open(b), core.NoSync, 1) })
	b.Run("Get", func(b *testing.B) { benchGet(b, open(b)) })
	b.Run("Scan", func(b *testing.B) { benchScan(b, open(b)) })
}

func benchKey(n uint64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 0, 8), n*0x9e3779b97f4a7c15) // spread over the order
}

func benchPut(b *testing.B, e storage.Engine, d core.Durability, writers int) {
	value := make([]byte, benchValueBytes)
	before := e.Stats()
	var next atomic.Uint64
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range writers {
		wg.Go(func() {
			done := make(chan error, 1)
			complete := func(err error) { done <- err }
			for n := next.Add(1); n <= uint64(b.N); n = next.Add(1) {
				e.Commit([]core.Write{{Key: benchKey(n), Value: value}}, d, complete)
				if err := <-done; err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	after := e.Stats()
	if syncs := after.Fsyncs - before.Fsyncs; syncs > 0 {
		b.ReportMetric(float64(after.Commits-before.Commits)/float64(syncs), "commits/fsync")
	}
	mustClose(b, e)
}

// benchFill commits benchKeys keys.
func benchFill(b *testing.B, e storage.Engine) {
	b.Helper()
	const chunk = 1000
	for first := 0; first < benchKeys; first += chunk {
		batch := make([]core.Write, 0, chunk)
		for n := range uint64(chunk) {
			batch = append(batch, core.Write{Key: benchKey(uint64(first) + n), Value: make([]byte, benchValueBytes)})
		}
		put(b, e, batch...)
	}
	b.ReportAllocs()
	b.ResetTimer()
}

func benchGet(b *testing.B, e storage.Engine) {
	benchFill(b, e)
	b.RunParallel(func(pb *testing.PB) {
		for n := uint64(0); pb.Next(); n++ {
			if _, err := e.Get(benchKey(n * 31 % benchKeys)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	mustClose(b, e)
}

// benchScan scans chunks of the size that background work takes at once.
func benchScan(b *testing.B, e storage.Engine) {
	benchFill(b, e)
	chunk := core.Limit{Keys: 256, Bytes: 64 << 10}
	shown := 0
	var from []byte
	for b.Loop() {
		next, err := e.Scan(from, nil, chunk, func(_, _ []byte) bool {
			shown++
			return true
		})
		if err != nil {
			b.Fatal(err)
		}
		from = next
	}
	b.StopTimer()
	b.ReportMetric(float64(shown)/float64(b.N), "pairs/op")
	mustClose(b, e)
}
