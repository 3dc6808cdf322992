package storagetest

import (
	"math/rand/v2"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/memory"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// forgetful is an engine that does not carry out the deletion of one key.
type forgetful struct{ storage.Engine }

func (f forgetful) Commit(batch []core.Write, d core.Durability, done func(error)) {
	var kept []core.Write
	for _, w := range batch {
		if !w.Delete || string(w.Key) != "a" {
			kept = append(kept, w)
		}
	}
	f.Engine.Commit(kept, d, done)
}

// TestShorten has a broken engine found out, by a list that is as short as it
// can be: what puts the key there, what should remove it, and what the end of
// the run looks at by itself.
func TestShorten(t *testing.T) {
	s := Subject{Name: "forgetful", Open: func(string, vfs.FS, *rand.Rand, *rand.Rand) (storage.Engine, error) {
		return forgetful{memory.New()}, nil
	}}
	list := drawActions(rand.New(rand.NewPCG(1, 1)), 300)
	fails := func(part []action) bool { return carryOut(t, s, 1, part) != nil }
	if !fails(list) {
		t.Fatal("300 operations do not show that deletions are forgotten")
	}
	short := shorten(list, fails)
	if len(short) > 2 || !fails(short) {
		t.Errorf("the shortened list has %d operations, want one or two: %v", len(short), short)
	}
	s.Open = func(string, vfs.FS, *rand.Rand, *rand.Rand) (storage.Engine, error) { return memory.New(), nil }
	if err := carryOut(t, s, 1, list); err != nil {
		t.Errorf("an engine that is not broken: %v", err)
	}
}
