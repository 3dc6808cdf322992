package storagetest

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

// model is the dumb twin of an engine.
type model map[string]string

// apply returns the model with a batch applied.
func (m model) apply(batch []core.Write) model {
	m = maps.Clone(m)
	for _, w := range batch {
		if w.Delete {
			delete(m, string(w.Key))
		} else {
			m[string(w.Key)] = string(w.Value)
		}
	}
	return m
}

// pairs returns what the model holds in [from, to), in order.
func (m model) pairs(from, to []byte) []pair {
	var found []pair
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if key >= string(from) && (to == nil || key < string(to)) {
			found = append(found, pair{key, m[key]})
		}
	}
	return found
}

// scan returns what a scan must show, and where it goes on.
func (m model) scan(from, to []byte, limit core.Limit) (shown []pair, next []byte) {
	bytes := 0
	for _, p := range m.pairs(from, to) {
		if len(shown) > 0 && (len(shown) >= limit.Keys || bytes >= limit.Bytes) {
			return shown, []byte(p.key)
		}
		shown = append(shown, p)
		bytes += len(p.key) + len(p.value)
	}
	return shown, nil
}

// Model carries out random operations on an engine and on the model. A
// failure prints the seed and the shortest list of operations that shows it.
func Model(t *testing.T, open Open) {
	rapid.Check(t, func(rt *rapid.T) {
		e := open(t)
		defer func() { _ = e.Close() }() // a run that fails must not hide why
		m := make(model)
		rt.Repeat(map[string]func(*rapid.T){
			"commit": func(rt *rapid.T) {
				batch := drawBatch(rt)
				d := rapid.SampledFrom([]core.Durability{core.Sync, core.NoSync}).Draw(rt, "durability")
				if err := commit(e, d, batch...); err != nil {
					rt.Fatalf("commit: %v", err)
				}
				m = m.apply(batch)
			},
			"get": func(rt *rapid.T) {
				key := drawKey(rt, "key")
				got, ok := get(t, e, key)
				if want, has := m[key]; ok != has || got != want {
					rt.Fatalf("%q reads %s, %v; want %s, %v", key, short(got), ok, short(want), has)
				}
			},
			"scan": func(rt *rapid.T) {
				from, to := drawBound(rt, "from"), drawBound(rt, "to")
				limit := core.Limit{
					Keys:  rapid.IntRange(0, 30).Draw(rt, "keys"),
					Bytes: rapid.IntRange(0, 300).Draw(rt, "bytes"),
				}
				got, next := scan(t, e, from, to, limit)
				want, wantNext := m.scan(from, to, limit)
				if err := equal(got, want); err != nil {
					rt.Fatal(err)
				}
				if string(next) != string(wantNext) || (next == nil) != (wantNext == nil) {
					rt.Fatalf("goes on at %q, want %q", next, wantNext)
				}
			},
			"": func(*rapid.T) {},
		})
		checkModel(rt, t, e, m)
		mustClose(t, e)
	})
}

// checkModel compares everything at the end of a run.
func checkModel(rt *rapid.T, t *testing.T, e storage.Engine, m model) {
	if err := equal(all(t, e), m.pairs(nil, nil)); err != nil {
		rt.Fatal(err)
	}
	if n := e.Stats().Keys; n != -1 && n != int64(len(m)) {
		rt.Fatalf("%d keys counted of %d", n, len(m))
	}
}

// drawKey draws out of few keys, so that they meet; some are prefixes of
// others, and some have the bytes at the ends of the order.
func drawKey(rt *rapid.T, label string) string {
	return rapid.StringOfN(rapid.RuneFrom([]rune("ab\x00\u00ff")), 0, 4, -1).Draw(rt, label)
}

func drawBound(rt *rapid.T, label string) []byte {
	if rapid.IntRange(0, 3).Draw(rt, label+" is nil") == 0 {
		return nil
	}
	return []byte(drawKey(rt, label))
}

func drawBatch(rt *rapid.T) []core.Write {
	n := rapid.IntRange(0, 5).Draw(rt, "writes")
	batch := make([]core.Write, 0, n)
	for i := range n {
		key := drawKey(rt, fmt.Sprintf("key %d", i))
		if rapid.IntRange(0, 3).Draw(rt, "delete") == 0 {
			batch = append(batch, remove(key))
			continue
		}
		batch = append(batch, set(key, rapid.StringN(0, 20, 60).Draw(rt, "value")))
	}
	return batch
}
