package engines_test

import (
	"flag"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/storagetest"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

var kills = flag.Int("storage.kills", 16, "processes that TestKill kills, of all engines together")

// TestKill kills processes that use the durable engines, in turns: each in a
// data directory of its own, with options that are drawn for each life.
func TestKill(t *testing.T) {
	var durable []storagetest.Subject
	for _, s := range subjects() {
		if s.Durable {
			durable = append(durable, s)
		}
	}
	killed, batches := 0, 0
	for i, s := range durable {
		loops := (*kills + i) / len(durable) // the sum is kills
		t.Run(s.Name, func(t *testing.T) {
			began := time.Now()
			killed += loops
			batches += storagetest.Process(t, loops, func(t testing.TB, dir string, life uint64) storage.Engine {
				e, err := s.Open(filepath.Join(dir, "data"), vfs.OS(), rand.New(rand.NewPCG(0, 2)), rand.New(rand.NewPCG(life, 3)))
				if err != nil {
					t.Fatal(err)
				}
				return e
			})
			t.Logf("%v for each", (time.Since(began) / time.Duration(max(1, loops))).Round(time.Millisecond))
		})
	}
	if !t.Failed() {
		t.Logf("%d processes killed, %d batches were told to be durable, none is lost", killed, batches)
	}
}
