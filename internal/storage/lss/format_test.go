package lss

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// drawWrites draws the writes of one frame.
func drawWrites(t *rapid.T) []write {
	n := rapid.IntRange(1, 6).Draw(t, "writes")
	writes := make([]write, 0, n)
	for range n {
		w := write{
			record: record{
				key:  rapid.StringN(0, 12, 40).Draw(t, "key"),
				seq:  rapid.Uint64Range(1, 1<<62).Draw(t, "seq"),
				kind: kind(rapid.IntRange(0, int(kinds)-1).Draw(t, "kind")),
			},
		}
		if w.kind == kindSet {
			w.value = rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "value")
		}
		writes = append(writes, w)
	}
	return writes
}

// segmentOf returns a segment with these frames, and their records.
func segmentOf(s salt, frames [][]write) (b []byte, records []record) {
	b = appendSegmentHead(nil, 1, 1)
	for _, writes := range frames {
		b = appendFrame(b, s, uint32(len(b)), writes)
		for _, w := range writes {
			records = append(records, w.record)
		}
	}
	return b, records
}

// What is written is read, and beyond it nothing, whatever an earlier use of
// the file has left there.
func TestFrames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSalt(1)
		frames := make([][]write, rapid.IntRange(0, 5).Draw(t, "frames"))
		for i := range frames {
			frames[i] = drawWrites(t)
		}
		b, want := segmentOf(s, frames)
		end := uint32(len(b))
		before, _ := segmentOf(newSalt(2), [][]write{drawWrites(t)})
		b = append(b, before[segmentHeadBytes:]...)
		for _, sealed := range []uint32{0, end} {
			found, _ := spans(b, s, sealed)
			c, err := judge(found, sealed)
			if err != nil {
				t.Fatal(err)
			}
			if c.end != end || !slices.Equal(c.records, want) {
				t.Fatalf("read %v up to %d, want %v up to %d", c.records, c.end, want, end)
			}
		}
	})
}

// A frame that is damaged is told from one that is torn by what comes after
// it: up to where the log was durable everything counts.
func TestJudge(t *testing.T) {
	s := newSalt(1)
	frames := make([][]write, 3)
	for i := range frames {
		frames[i] = []write{{record: record{key: fmt.Sprint(i), seq: uint64(i + 1)}, value: []byte("value")}}
	}
	whole, records := segmentOf(s, frames)
	second := records[1].off
	for _, test := range []struct {
		name    string
		durable uint32
		records int
		damaged int
	}{
		{"nothing is known to be durable", 0, 1, 0},
		{"the first frame is", segmentHeadBytes + 1, 1, 0},
		{"all is", uint32(len(whole)), 3, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := bytes.Clone(whole)
			b[second] ^= 1
			found, _ := spans(b, s, 0)
			c, err := judge(found, test.durable)
			if err != nil {
				t.Fatal(err)
			}
			if len(c.records) != test.records || c.damaged != test.damaged {
				t.Errorf("%d records, %d damaged; want %d, %d",
					len(c.records), c.damaged, test.records, test.damaged)
			}
		})
	}
	t.Run("keys that nobody knows", func(t *testing.T) {
		b := bytes.Clone(whole)
		clear(b[second-20 : second+30])
		found, _ := spans(b, s, 0)
		if _, err := judge(found, uint32(len(b))); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("a durable frame that is gone: %v, want ErrDamaged", err)
		}
	})
}

func TestHint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		_, records := segmentOf(newSalt(1), [][]write{drawWrites(t), drawWrites(t)})
		h := newHint(7, 8, 1<<20, records)
		got, err := decodeHint(h.encode())
		if err != nil || !reflect.DeepEqual(got, h) {
			t.Fatalf("%+v, %v; want %+v", got, err, h)
		}
		f := newFilter(h.records)
		for _, r := range h.records {
			if !f.has(r.key) {
				t.Fatalf("the filter has not %q", r.key)
			}
		}
	})
}

// The filter keeps out what it should: else deletions would be kept for ever.
func TestFilter(t *testing.T) {
	const n = 10_000
	records := make([]record, n)
	for i := range records {
		records[i].key = fmt.Sprint("there ", i)
	}
	f := newFilter(records)
	passed := 0
	for i := range n {
		if f.has(fmt.Sprint("not there ", i)) {
			passed++
		}
	}
	if passed > n/500 {
		t.Errorf("%d of %d keys pass that are not there", passed, n)
	}
	if filter(nil).has("a") {
		t.Error("the empty filter has a key")
	}
}

func TestManifest(t *testing.T) {
	m := manifest{{id: 1, end: 100, salt: 5}, {id: 3, salt: 6}}
	for at := -1; at < len(m.encode()); at++ {
		b := m.encode()
		if at >= 0 {
			b[at] ^= 0x40
		}
		got, damaged, err := decodeManifest(b)
		if err != nil || !slices.Equal(got, m) || damaged != (at >= 0) {
			t.Fatalf("byte %d flipped: %v, %v, %v", at, got, damaged, err)
		}
	}
}

// TestMemory measures what a key takes in the index, beside its bytes, both
// when the store was opened and when it was written key by key.
func TestMemory(t *testing.T) {
	const n, keyBytes, most = 200_000, 32, 80
	for _, sorted := range []bool{true, false} {
		before := heap()
		x := newIndex()
		var keys arena
		for i := range n {
			at := i
			if !sorted {
				at = rand.IntN(1 << 40)
			}
			it := item{key: fmt.Sprintf("%032d", at)}
			if sorted {
				it.key = keys.add(it.key)
				x.Load(it.key, it.place)
			} else {
				x.Set(it.key, it.place)
			}
		}
		each := float64(heap()-before)/float64(x.Len()) - keyBytes
		t.Logf("%.0f bytes a key beside the key, sorted: %v", each, sorted)
		if each > most {
			t.Errorf("a key takes %.0f bytes beside its own, sorted: %v; %d are the most", each, sorted, most)
		}
		runtime.KeepAlive(x)
	}
}

// TestMemoryOfEngine measures what a key takes in an engine whose values have all
// been written again and copied by merging, and in the same store when it is
// opened. What does not grow with the keys is not counted: buffers, and the records
// of segments that are not sealed.
func TestMemoryOfEngine(t *testing.T) {
	const n, keyBytes, most = 100_000, 32, 80
	o := Options{
		Dir: filepath.Join(t.TempDir(), "lss"), Create: true, FS: vfs.OS(),
		Logger: slog.New(slog.DiscardHandler), SegmentBytes: 1 << 20, Background: free{},
	}
	before := heap()
	for _, life := range []string{"written", "opened"} {
		e, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		if o.Create {
			o.Create = false
			overwrite(t, e, n, 4)
		}
		settleMerged(e) // who seals or merges has buffers
		e.mu.Lock()
		e.spare = nil
		each := float64(heap()-before)/float64(e.index.Len()) - keyBytes
		e.mu.Unlock()
		t.Logf("%s: %.0f bytes a key beside the key, after %d merges", life, each, e.Stats().Compactions)
		if each > most {
			t.Errorf("%s: a key takes %.0f bytes beside its own; %d are the most", life, each, most)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// free admits all background work at once.
type free struct{}

func (free) Step(int, <-chan struct{}) bool { return true }
func (free) Done()                          {}

// overwrite writes n keys of 32 bytes several times, in any order.
func overwrite(t *testing.T, e *Engine, n, times int) {
	t.Helper()
	const size = 100
	done := make(chan error, 1)
	commit := func(batch []core.Write, d core.Durability) {
		e.Commit(batch, d, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	for range times {
		for some := range slices.Chunk(rand.Perm(n), size) {
			batch := make([]core.Write, 0, size)
			for _, at := range some {
				batch = append(batch, core.Write{Key: fmt.Appendf(nil, "%032d", at), Value: []byte("value")})
			}
			commit(batch, core.NoSync)
		}
	}
	commit(nil, core.Sync)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func FuzzSegment(f *testing.F) {
	mustHaveCorpus(f, "FuzzSegment")
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		end := uint32(0)
		if sealed {
			end = uint32(len(b))
		}
		found, _ := spans(b, newSalt(1), end)
		at := uint32(segmentHeadBytes)
		for _, s := range found {
			if s.start != at || s.end <= s.start || int(s.end) > len(b) {
				t.Fatalf("a span from %d to %d where the last one ended at %d of %d", s.start, s.end, at, len(b))
			}
			at = s.end
		}
		c, err := judge(found, end)
		if err != nil {
			return
		}
		for _, r := range c.records {
			if uint64(r.off)+uint64(r.size) > uint64(len(b)) {
				t.Fatalf("a record beyond the end: %+v", r)
			}
		}
	})
}

func FuzzHint(f *testing.F) {
	mustHaveCorpus(f, "FuzzHint")
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHint(b)
		if err != nil {
			return
		}
		again, err := decodeHint(h.encode())
		if err != nil || !reflect.DeepEqual(again, h) {
			t.Fatalf("%+v becomes %+v, %v", h, again, err)
		}
	})
}

func FuzzManifest(f *testing.F) {
	mustHaveCorpus(f, "FuzzManifest")
	f.Fuzz(func(t *testing.T, b []byte) {
		m, _, err := decodeManifest(b)
		if err != nil {
			return
		}
		again, damaged, err := decodeManifest(m.encode())
		if err != nil || damaged || !slices.Equal(again, m) {
			t.Fatalf("%v becomes %v, %v", m, again, err)
		}
	})
}

// mustHaveCorpus fails if the inputs that are committed are gone.
func mustHaveCorpus(f *testing.F, name string) {
	f.Helper()
	found, err := os.ReadDir("testdata/fuzz/" + name)
	if err != nil || len(found) == 0 {
		f.Fatalf("no corpus: %v", err)
	}
}
