package lss_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/lss"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// damaged gets what an engine tells of keys whose records are lost.
type damaged struct {
	mu   sync.Mutex // guards what follows
	keys []string
}

func (d *damaged) found(key []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keys = append(d.keys, string(key))
}

func (d *damaged) told() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.keys)
}

// scrubEach is the interval of the tests, in virtual time.
const scrubEach = time.Hour

// scrubbing are options of an engine that scrubs, with segments that are full
// after some eight values, and what it tells.
func scrubbing(fs vfs.FS, create bool, to *damaged) lss.Options {
	o := options(fs, create)
	o.SegmentBytes = 8 << 10
	o.ScrubInterval, o.OnDamage = scrubEach, to.found
	return o
}

// fill makes a store of segments in which all is current but one value, and one
// of which is a single value that scrubbing reads in parts.
func fill(t testing.TB, e storage.Engine) map[string]string {
	t.Helper()
	want := map[string]string{"large": strings.Repeat("large ", 50_000)}
	mustCommit(t, e, set("key 03", "a value that is replaced"))
	for i := range 24 {
		want[fmt.Sprintf("key %02d", i)] = strings.Repeat(fmt.Sprintf("%02d ", i), 300+i)
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		mustCommit(t, e, set(key, want[key]))
	}
	return want
}

// change flips a byte of a file that an engine has open.
func change(t testing.TB, fs vfs.FS, path string, at int, b byte) {
	t.Helper()
	f, err := fs.OpenReadWrite(path, "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte{b ^ 0x55}, int64(at))
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// scrubbed returns the files of which scrubbing reads every byte, and how much of them:
// sealed segments, hint files, the manifest.
func scrubbed(t testing.TB, fs vfs.FS) map[string][]byte {
	t.Helper()
	of := make(map[string][]byte)
	for _, name := range names(t, fs) {
		switch b := read(t, fs, "data/"+name); {
		case strings.HasSuffix(name, ".hint"), name == "MANIFEST":
			of[name] = b
		case strings.HasSuffix(name, ".seg") && slices.Contains(names(t, fs), strings.Replace(name, ".seg", ".hint", 1)):
			of[name] = b[:lss.End(t, fs, "data", name)]
		}
	}
	return of
}

// TestScrubFindsDamageEverywhere flips bytes of a store under an engine that nobody
// reads from. Within its interval each is found and counted; a value that it hits
// is told of by its key, and costs that key alone; whatever else it hits is whole
// again afterwards.
func TestScrubFindsDamageEverywhere(t *testing.T) {
	disk := vfs.NewDisk()
	var before damaged
	e := mustOpen(t, scrubbing(disk.FS(), true, &before))
	want := fill(t, e)
	lss.Settle(e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	var there map[string][]byte // what is when it is open and at rest
	synctest.Test(t, func(t *testing.T) {
		fs := disk.PowerCut(nil, 0).FS()
		e := mustOpen(t, scrubbing(fs, false, &before))
		synctest.Wait()
		there = scrubbed(t, fs)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	})
	flips, lost := 0, 0
	for name, b := range there {
		for at := 0; at < len(b); at += 1 + len(b)/150 {
			synctest.Test(t, func(t *testing.T) {
				key := scrubOne(t, disk.PowerCut(nil, 0).FS(), name, at, want)
				flips++
				if key != "" {
					lost++
				}
			})
		}
	}
	t.Logf("%d bytes flipped, %d records lost", flips, lost)
	if lost == 0 || lost == flips {
		t.Errorf("of %d flips %d have hit a value: not everything is reached", flips, lost)
	}
}

// scrubOne flips one byte under an engine, and returns the key that it has cost.
func scrubOne(t *testing.T, fs vfs.FS, name string, at int, want map[string]string) (lost string) {
	t.Helper()
	var told damaged
	o := scrubbing(fs, false, &told)
	var log bytes.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	e := mustOpen(t, o)
	synctest.Wait()
	b := read(t, fs, "data/"+name)
	change(t, fs, "data/"+name, at, b[at])
	<-time.After(2 * scrubEach) // the first pass begins anywhere
	synctest.Wait()
	stats := e.Stats()
	if stats.Scrub.Found != 1 || stats.Scrub.Passes == 0 || !strings.Contains(log.String(), "damage") {
		t.Errorf("byte %d of %s: %+v; it has said: %s", at, name, stats.Scrub, &log)
	}
	keys := told.told()
	if len(keys) > 1 || int(stats.Damaged) != len(keys) {
		t.Fatalf("byte %d of %s: it tells of %q, and counts %d", at, name, keys, stats.Damaged)
	}
	for key, value := range want {
		got, err := e.Get([]byte(key))
		if slices.Contains(keys, key) {
			lost = key
			if !errors.Is(err, core.ErrDamaged) {
				t.Errorf("byte %d of %s: %q is told of, and reads %.20q, %v", at, name, key, got, err)
			}
		} else if err != nil || string(got) != value {
			t.Errorf("byte %d of %s: %q reads %.20q, %v", at, name, key, got, err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for _, f := range check(t, fs).faults {
		if f.Cost != storage.CostRecord || string(f.Key) != lost {
			t.Errorf("byte %d of %s: it is not mended: %+v", at, name, f)
		}
	}
	return lost
}

// TestScrubIsPaced: a whole pass takes its interval, is admitted like all other
// background work, and without an interval there is none.
func TestScrubIsPaced(t *testing.T) {
	for _, each := range []time.Duration{0, scrubEach} {
		synctest.Test(t, func(t *testing.T) {
			var told damaged
			o := scrubbing(vfs.NewDisk().FS(), true, &told)
			o.ScrubInterval = each
			work := &gate{steps: make(chan struct{}, 1<<20)}
			o.Background = work
			e := mustOpen(t, o)
			fill(t, e)
			lss.Settle(e)
			for range cap(work.steps) {
				work.steps <- struct{}{}
			}
			<-time.After(10 * scrubEach)
			synctest.Wait()
			s, moved := e.Stats(), work.bytes.Load()
			if each == 0 {
				if s.Scrub != (storage.Scrub{}) {
					t.Errorf("without an interval: %+v", s.Scrub)
				}
			} else if n := s.Scrub.Passes; n < 9 || n > 11 || s.Scrub.Done < 0 || s.Scrub.Done > 1 || moved < int64(s.Scrub.Bytes) {
				t.Errorf("in ten intervals: %+v, with %d bytes admitted", s.Scrub, moved)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestScrubGoesOnAfterRestarts: a node that never runs for a whole interval has
// all of its store looked at nevertheless.
func TestScrubGoesOnAfterRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewDisk().FS()
		var told damaged
		e := mustOpen(t, scrubbing(fs, true, &told))
		fill(t, e)
		lss.Settle(e)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		for name, b := range scrubbed(t, fs) {
			if strings.HasSuffix(name, ".seg") {
				change(t, fs, "data/"+name, len(b)/2, b[len(b)/2])
			}
		}
		found := uint64(0)
		for range 12 {
			e := mustOpen(t, scrubbing(fs, false, &told))
			<-time.After(scrubEach / 6)
			synctest.Wait()
			found += e.Stats().Scrub.Found
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range check(t, fs).faults {
			if f.Cost != storage.CostRecord || !slices.Contains(told.told(), string(f.Key)) {
				t.Errorf("it was not found: %+v", f)
			}
		}
		if found < 3 {
			t.Errorf("%d places found", found)
		}
	})
}

// TestScrubGoesOnWithinASegment: neither are the ends of segments left out that
// take longer than such a life.
func TestScrubGoesOnWithinASegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewDisk().FS()
		var told damaged
		large := func(create bool) lss.Options {
			o := scrubbing(fs, create, &told)
			o.SegmentBytes = 1 << 20
			return o
		}
		e := mustOpen(t, large(true))
		for i := range 900 {
			mustCommit(t, e, set(fmt.Sprintf("key %03d", i), strings.Repeat(fmt.Sprintf("%03d ", i), 250)))
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		for name, b := range scrubbed(t, fs) {
			if at := bytes.Index(b, []byte(strings.Repeat("890 ", 250))); at >= 0 && strings.HasSuffix(name, ".seg") {
				change(t, fs, "data/"+name, at, b[at])
			}
		}
		for range 12 {
			e := mustOpen(t, large(false))
			<-time.After(scrubEach / 12)
			synctest.Wait()
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if keys := told.told(); len(keys) == 0 || keys[0] != "key 890" {
			t.Errorf("it tells of %q, want key 890", keys)
		}
	})
}

// TestDamageIsTold: a key whose record is lost is told of when a read, a scan or a
// merge comes upon it, and at every opening until it is written again.
func TestDamageIsTold(t *testing.T) {
	finders := map[string]func(t *testing.T, e storage.Engine){
		"read": func(_ *testing.T, e storage.Engine) { _, _ = e.Get([]byte("key 05")) },
		"scan": func(t *testing.T, e storage.Engine) {
			if _, err := e.Scan(nil, nil, core.Limit{Keys: 100, Bytes: 1 << 20}, func([]byte, []byte) bool { return true }); err != nil {
				t.Error(err)
			}
		},
		"merge": func(t *testing.T, e storage.Engine) { churn(t, e, 200) },
	}
	for name, find := range finders {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewDisk().FS()
			var none damaged
			o := scrubbing(fs, true, &none)
			o.ScrubInterval = 0
			e := mustOpen(t, o)
			want := fill(t, e)
			if name == "merge" { // the others of its segment are replaced
				for i := range 24 {
					if i != 5 {
						mustCommit(t, e, set(fmt.Sprintf("key %02d", i), "short"))
					}
				}
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			for file, b := range scrubbed(t, fs) {
				if at := bytes.Index(b, []byte(want["key 05"])); at >= 0 && strings.HasSuffix(file, ".seg") {
					change(t, fs, "data/"+file, at, b[at])
				}
			}
			for life := range 3 {
				var told damaged
				o := scrubbing(fs, false, &told)
				o.ScrubInterval = 0
				e := mustOpen(t, o)
				if life == 2 {
					mustCommit(t, e, set("key 05", "anew"))
				}
				find(t, e)
				if err := e.Close(); err != nil {
					t.Fatal(err)
				}
				if keys := told.told(); !slices.Equal(keys, []string{"key 05"}) {
					t.Errorf("life %d: it tells of %q, want key 05", life, keys)
				}
			}
			var told damaged
			e = mustOpen(t, scrubbing(fs, false, &told))
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			if keys := told.told(); len(keys) != 0 {
				t.Errorf("when it was written again, it tells of %q", keys)
			}
		})
	}
}
