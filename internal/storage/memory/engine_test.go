package memory_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/memory"
	"github.com/dynamo-kv/dynamo/internal/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(testing.TB) storage.Engine { return memory.New() }

func TestEngine(t *testing.T) { storagetest.Run(t, open) }

func TestModel(t *testing.T) { storagetest.Model(t, open) }

func BenchmarkEngine(b *testing.B) { storagetest.Bench(b, open) }

// TestBytes has the engine's count of its memory follow what it holds.
func TestBytes(t *testing.T) {
	e := memory.New()
	write := func(w core.Write) int64 {
		e.Commit([]core.Write{w}, core.Sync, func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
		return e.Stats().MemoryBytes
	}
	one := write(core.Write{Key: []byte("key"), Value: make([]byte, 100)})
	if one < 103 {
		t.Errorf("%d bytes for a pair of 103", one)
	}
	if grown := write(core.Write{Key: []byte("key"), Value: make([]byte, 150)}); grown != one+50 {
		t.Errorf("%d bytes after a value grew by 50, want %d", grown, one+50)
	}
	if two := write(core.Write{Key: []byte("yek"), Value: make([]byte, 150)}); two != 2*(one+50) {
		t.Errorf("%d bytes for two pairs, want %d", two, 2*(one+50))
	}
	write(core.Write{Key: []byte("absent"), Delete: true})
	write(core.Write{Key: []byte("yek"), Delete: true})
	if none := write(core.Write{Key: []byte("key"), Delete: true}); none != 0 {
		t.Errorf("%d bytes when all is deleted, want 0", none)
	}
}

func TestFull(t *testing.T) {
	const limit = 100_000
	storagetest.Full(t, limit, func(testing.TB) storage.Engine { return memory.NewLimited(limit) })
}

// TestLimitedEngine has an engine with more room than is needed keep the whole
// contract.
func TestLimitedEngine(t *testing.T) {
	storagetest.Run(t, func(testing.TB) storage.Engine { return memory.NewLimited(1 << 40) })
}
