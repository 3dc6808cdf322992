package storagetest

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// Subject is an engine for Metamorphic.
type Subject struct {
	Name string
	// Durable engines hold after a stop what they held before; the others are
	// empty then.
	Durable bool
	// Crashes: it runs on a vfs.Disk. The others run on the machine's own file
	// system, and stop in order where these crash.
	Crashes bool
	// Open opens the engine in a directory, and makes it at first, with options
	// that it draws from rng. It draws from store what has to stay the same as
	// long as the directory does.
	Open func(dir string, fs vfs.FS, store, rng *rand.Rand) (storage.Engine, error)
}

// Metamorphic carries out a list of random operations on an engine and on the
// model: batches, gets, scans, scans that hold their moment while others write,
// readers beside a writer, stops, crashes, and starts with other options. The
// list comes from the seed alone, so that all engines are given the same one;
// and each engine answers every operation as the model does, hence as each
// other engine. What a crash has taken, or a stop from an engine that is not
// durable, is put back, so that the engines remain alike.
//
// A failure prints the seed, a list of operations that is as short as dropping
// pieces of it makes it, and replay, which is how to have it once more.
func Metamorphic(t *testing.T, s Subject, seed uint64, operations int, replay string) {
	t.Helper()
	list := drawActions(rand.New(rand.NewPCG(seed, 1)), operations)
	err := carryOut(t, s, seed, list)
	if err == nil {
		return
	}
	t.Logf("%s, seed %d: %v; shortening", s.Name, seed, err)
	short := shorten(list, func(part []action) bool { return carryOut(t, s, seed, part) != nil })
	var text strings.Builder
	for i, a := range short {
		fmt.Fprintf(&text, "%4d  %v\n", i, a)
	}
	t.Errorf("%s, seed %d: %v\nthis list of %d operations out of %d fails too:\n%sreplay: %s",
		s.Name, seed, err, len(short), len(list), text.String(), replay)
}

// maxShorten is how many lists shorten tries, and shortenTime for how long:
// enough to bring hundreds of operations down to some few where each is tried
// once or twice, and not longer than somebody waits for it.
const (
	maxShorten  = 400
	shortenTime = 2 * time.Minute
)

// shorten drops pieces of a list, halves at first, as long as what remains
// fails.
func shorten(list []action, fails func([]action) bool) []action {
	tries, began := 0, time.Now()
	for size := len(list) / 2; size > 0; size /= 2 {
		for at := 0; at < len(list) && tries < maxShorten && time.Since(began) < shortenTime; tries++ {
			end := min(at+size, len(list))
			part := append(append(make([]action, 0, len(list)), list[:at]...), list[end:]...)
			if fails(part) {
				list = part
			} else {
				at = end
			}
		}
	}
	return list
}

// carryOut carries out a list of operations on an engine in a new directory.
func carryOut(t *testing.T, s Subject, seed uint64, list []action) (err error) {
	r := &run{subject: s, seed: seed, dir: "data", model: make(model)}
	if s.Crashes {
		r.disk = vfs.NewDisk()
	} else {
		r.dir = t.TempDir()
	}
	i := -1
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("operation %d panics: %v\n%s", i, p, debug.Stack())
		}
	}()
	if err := r.open(0); err != nil {
		return err
	}
	for i = range list {
		if err := list[i].do(r); err != nil {
			_ = r.engine.Close() // why it fails is known
			return fmt.Errorf("operation %d, %v: %w", i, list[i], err)
		}
	}
	return r.end()
}

// run is one list of operations under way.
type run struct {
	subject Subject
	seed    uint64
	dir     string
	disk    *vfs.Disk // nil: the machine's own
	engine  storage.Engine
	life    *life
	model   model // what the engine must hold
}

// life is what is known of an engine from its start to its end.
type life struct {
	states []model // what it holds after each of its batches, the first being before any

	mu     sync.Mutex // guards what follows
	came   sync.Cond  // a completion has
	done   int        // completions
	synced int        // this many batches are durable for certain
	fault  error      // the first thing that was wrong with a completion
}

func newLife(m model) *life {
	l := &life{states: []model{m}}
	l.came.L = &l.mu
	return l
}

// complete is called when batch n is.
func (l *life) complete(n int, d core.Durability, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.fault != nil:
	case err != nil:
		l.fault = fmt.Errorf("completion of batch %d: %w", n, err)
	case n != l.done+1:
		l.fault = fmt.Errorf("completion of batch %d where that of %d was due", n, l.done+1)
	}
	l.done++
	if d == core.Sync && err == nil {
		l.synced = n
	}
	l.came.Broadcast()
}

// await waits until n batches are complete.
func (l *life) await(n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.done < n {
		l.came.Wait()
	}
	return l.fault
}

func (l *life) durable() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.synced
}

// batches is how many there were.
func (l *life) batches() int { return len(l.states) - 1 }

// fs returns the file system that the engine runs on.
func (r *run) fs() vfs.FS {
	if r.disk == nil {
		return vfs.OS()
	}
	return r.disk.FS()
}

// open starts an engine with options that the seed of an operation gives.
func (r *run) open(options uint64) error {
	e, err := r.subject.Open(r.dir, r.fs(), rand.New(rand.NewPCG(r.seed, 2)), rand.New(rand.NewPCG(options, 3)))
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	r.engine = e
	r.life = newLife(r.model)
	return nil
}

// commit commits a batch, and has the model follow.
func (r *run) commit(batch []core.Write, d core.Durability) {
	r.model = r.model.apply(batch)
	r.life.states = append(r.life.states, r.model)
	r.send(batch, d, r.life.batches())
}

func (r *run) send(batch []core.Write, d core.Durability, n int) {
	l := r.life
	r.engine.Commit(batch, d, func(err error) { l.complete(n, d, err) })
}

// close stops the engine in order.
func (r *run) close() error {
	if err := r.engine.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	r.life.mu.Lock()
	defer r.life.mu.Unlock()
	if done := r.life.done; done != r.life.batches() {
		return fmt.Errorf("close returned after %d of %d completions", done, r.life.batches())
	}
	return r.life.fault
}

// found returns what the engine holds.
func (r *run) found() ([]pair, error) {
	var found []pair
	next, err := r.engine.Scan(nil, nil, everything(), func(k, v []byte) bool {
		found = append(found, pair{string(k), string(v)})
		return true
	})
	if err == nil && next != nil {
		err = fmt.Errorf("a scan of everything goes on at %q", next)
	}
	return found, err
}

// restart starts the engine again. It must hold what it held after one of the
// batches from least on, and is given what it lacks of the rest.
func (r *run) restart(options uint64, least int) error {
	before := r.life
	if err := r.open(options); err != nil {
		return err
	}
	found, err := r.found()
	if err != nil {
		return err
	}
	states := before.states[least:]
	if !r.subject.Durable {
		states = []model{{}}
	}
	err = fmt.Errorf("no state")
	for i := len(states) - 1; i >= 0 && err != nil; i-- {
		differs := equal(found, states[i].pairs(nil, nil))
		if err = differs; err == nil {
			r.life.states[0] = states[i]
		}
	}
	if err != nil {
		return fmt.Errorf("it holds what it held after none of the batches %d to %d; after the first of them: %w", least, before.batches(), err)
	}
	return r.restore()
}

// restoreBytes is how much is put back in one batch: every engine takes so
// much, whatever its options.
const restoreBytes = 64 << 10

// restore puts back what was lost.
func (r *run) restore() error {
	want, has := r.model, r.life.states[0]
	r.model = has
	var batch []core.Write
	size := 0
	flush := func() {
		r.commit(batch, core.Sync)
		batch, size = nil, 0
	}
	for _, p := range has.pairs(nil, nil) {
		if _, ok := want[p.key]; !ok {
			batch = append(batch, remove(p.key))
		}
	}
	for _, p := range want.pairs(nil, nil) {
		if v, ok := has[p.key]; ok && v == p.value {
			continue
		}
		batch = append(batch, set(p.key, p.value))
		if size += len(p.value); size > restoreBytes {
			flush()
		}
	}
	if len(batch) > 0 {
		flush()
	}
	return r.life.await(r.life.batches())
}

// end checks everything once more, and closes the engine.
func (r *run) end() error {
	if err := r.life.await(r.life.batches()); err != nil {
		return err
	}
	found, err := r.found()
	if err == nil {
		err = equal(found, r.model.pairs(nil, nil))
	}
	if err != nil {
		_ = r.engine.Close() // why it fails is known
		return fmt.Errorf("in the end: %w", err)
	}
	return r.close()
}
