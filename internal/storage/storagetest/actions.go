package storagetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

// action is one operation of a metamorphic run. It is data, so that a list of
// them can be given to any engine, shortened and printed.
type action interface {
	fmt.Stringer
	do(r *run) error
}

// actCommit commits a batch, and waits for its completion or not.
type actCommit struct {
	batch      []core.Write
	durability core.Durability
	wait       bool
}

func (a actCommit) do(r *run) error {
	r.commit(a.batch, a.durability)
	if a.wait {
		return r.life.await(r.life.batches())
	}
	return nil
}

func (a actCommit) String() string {
	var b strings.Builder
	b.WriteString("commit")
	if a.durability == core.Sync {
		b.WriteString(" synced")
	}
	if a.wait {
		b.WriteString(" and wait")
	}
	b.WriteString(":")
	for _, w := range a.batch {
		switch {
		case w.Delete:
			fmt.Fprintf(&b, " delete %s", short(string(w.Key)))
		default:
			fmt.Fprintf(&b, " put %s %d bytes", short(string(w.Key)), len(w.Value))
		}
	}
	return b.String()
}

// actGet reads a key.
type actGet struct{ key string }

func (a actGet) do(r *run) error {
	v, err := r.engine.Get([]byte(a.key))
	want, ok := r.model[a.key]
	switch {
	case !ok && err != core.ErrNotFound: //nolint:errorlint // the port promises the error itself
		return fmt.Errorf("%s, %w; want ErrNotFound", short(string(v)), err)
	case ok && err != nil:
		return err
	case ok && (v == nil || string(v) != want):
		return fmt.Errorf("reads %s, want %s", short(string(v)), short(want))
	}
	return nil
}

func (a actGet) String() string { return fmt.Sprintf("get %s", short(a.key)) }

// actScan scans once. f ends it after stop pairs, if that is not 0; and other
// operations take place within f at the first pair, which the scan must not
// show.
type actScan struct {
	from, to []byte
	limit    core.Limit
	stop     int
	within   []action
}

func (a actScan) do(r *run) error {
	want, wantNext := r.model.scan(a.from, a.to, a.limit)
	if a.stop > 0 && a.stop < len(want) {
		want, wantNext = want[:a.stop], []byte(want[a.stop].key)
	}
	var found []pair
	var inside error
	next, err := r.engine.Scan(a.from, a.to, a.limit, func(k, v []byte) bool {
		if len(found) == 0 {
			for _, w := range a.within {
				inside = errors.Join(inside, w.do(r))
			}
		}
		found = append(found, pair{string(k), string(v)})
		return len(found) != a.stop
	})
	if err := errors.Join(err, inside, equal(found, want)); err != nil {
		return err
	}
	if string(next) != string(wantNext) || (next == nil) != (wantNext == nil) {
		return fmt.Errorf("goes on at %q, want %q", next, wantNext)
	}
	return nil
}

func (a actScan) String() string {
	text := fmt.Sprintf("scan from %s to %s (nil: %v), %d keys, %d bytes, stopped after %d",
		short(string(a.from)), short(string(a.to)), a.to == nil, a.limit.Keys, a.limit.Bytes, a.stop)
	if len(a.within) > 0 {
		text += fmt.Sprintf(", within it %v", a.within)
	}
	return text
}

// actPages scans everything in pages.
type actPages struct{ limit core.Limit }

func (a actPages) do(r *run) error {
	var found []pair
	for from, more := []byte(nil), true; more; {
		before := len(found)
		next, err := r.engine.Scan(from, nil, a.limit, func(k, v []byte) bool {
			found = append(found, pair{string(k), string(v)})
			return true
		})
		if err != nil {
			return err
		}
		if more = next != nil; more && len(found) == before {
			return fmt.Errorf("a page from %q shows nothing and goes on at %q", from, next)
		}
		from = next
	}
	return equal(found, r.model.pairs(nil, nil))
}

func (a actPages) String() string {
	return fmt.Sprintf("scan all by %d keys and %d bytes", a.limit.Keys, a.limit.Bytes)
}

// raceKey tells readers how many batches of a race they see.
const raceKey = "race"

// actRace commits batches beside readers, each of whom sees the store as it was
// between two of them, and never goes back.
type actRace struct{ batches []actCommit }

func (a actRace) do(r *run) error {
	first := r.life.batches() + 1
	before := actCommit{[]core.Write{set(raceKey, "0")}, core.NoSync, false}
	if err := before.do(r); err != nil {
		return err
	}
	for i, b := range a.batches {
		batch := append([]core.Write{}, b.batch...)
		batch = append(batch, set(raceKey, fmt.Sprint(i+1)))
		r.model = r.model.apply(batch)
		r.life.states = append(r.life.states, r.model)
	}
	var started, returned atomic.Int64
	var readers sync.WaitGroup
	const width = 2
	faults := make(chan error, width)
	ended := make(chan struct{})
	for range width {
		readers.Go(func() { faults <- r.read(r.life.states[first:], &started, &returned, ended) })
	}
	for i, b := range a.batches {
		started.Add(1)
		r.send(append(append([]core.Write{}, b.batch...), set(raceKey, fmt.Sprint(i+1))), b.durability, first+i+1)
		returned.Add(1)
	}
	close(ended)
	readers.Wait()
	return errors.Join(<-faults, <-faults, r.life.await(r.life.batches()))
}

// read reads everything again and again until the race has ended.
func (r *run) read(states []model, started, returned *atomic.Int64, ended <-chan struct{}) error {
	for {
		least := returned.Load()
		found, err := r.found()
		most := started.Load()
		if err != nil {
			return err
		}
		n := int64(-1)
		for _, p := range found {
			if p.key == raceKey {
				_, err = fmt.Sscan(p.value, &n)
			}
		}
		if err != nil || n < least || n > most {
			return fmt.Errorf("a reader sees batch %d (%w); %d had returned before and %d were begun", n, err, least, most)
		}
		if err := equal(found, states[n].pairs(nil, nil)); err != nil {
			return fmt.Errorf("a reader sees batch %d in part: %w", n, err)
		}
		select {
		case <-ended:
			return nil
		default:
		}
	}
}

func (a actRace) String() string { return fmt.Sprintf("beside two readers: %v", a.batches) }

// actAwait waits for all completions.
type actAwait struct{}

func (actAwait) do(r *run) error { return r.life.await(r.life.batches()) }

func (actAwait) String() string { return "wait for all completions" }

// actStats looks at the counters.
type actStats struct{}

func (actStats) do(r *run) error {
	s := r.engine.Stats()
	switch {
	case s.Keys != -1 && s.Keys != int64(len(r.model)):
		return fmt.Errorf("%d keys counted of %d", s.Keys, len(r.model))
	case s.Commits != uint64(r.life.batches()):
		return fmt.Errorf("%d commits counted of %d", s.Commits, r.life.batches())
	case s.Damaged != 0:
		return fmt.Errorf("%d records are damaged", s.Damaged)
	}
	return nil
}

func (actStats) String() string { return "stats" }

// actReopen stops the engine in order, and starts it with other options.
type actReopen struct{ options uint64 }

func (a actReopen) do(r *run) error {
	if err := r.close(); err != nil {
		return err
	}
	return r.restart(a.options, r.life.batches())
}

func (a actReopen) String() string { return fmt.Sprintf("reopen with the options of %d", a.options) }

// actCrash cuts the power.
type actCrash struct {
	seed uint64
	keep int // percent of what is not synced
}

func (a actCrash) do(r *run) error {
	if r.disk == nil {
		return actReopen{a.seed}.do(r)
	}
	least := r.life.durable()
	disk := r.disk.PowerCut(rand.New(rand.NewPCG(a.seed, 4)), a.keep)
	if err := r.close(); err != nil { // on a disk that nobody will see
		return err
	}
	r.disk = disk
	return r.restart(a.seed, least)
}

func (a actCrash) String() string {
	return fmt.Sprintf("crash, keeping %d %% of what is not synced, and open with the options of %d", a.keep, a.seed)
}

// drawer draws operations.
type drawer struct {
	*rand.Rand
	values int // drawn so far, so that each differs from the others
}

func drawActions(rng *rand.Rand, n int) []action {
	d := &drawer{Rand: rng}
	list := make([]action, 0, n)
	for range n {
		list = append(list, d.action())
	}
	return list
}

func (d *drawer) action() action {
	switch n := d.IntN(100); {
	case n < 48:
		return d.commit()
	case n < 64:
		return actGet{d.key()}
	case n < 78:
		return d.scan()
	case n < 83:
		a := d.scan()
		for range 1 + d.IntN(4) {
			a.within = append(a.within, d.commit(), actGet{d.key()}, d.scan())
		}
		return a
	case n < 86:
		return actPages{d.limit()}
	case n < 88:
		var a actRace
		for range 1 + d.IntN(20) {
			a.batches = append(a.batches, d.commit())
		}
		return a
	case n < 91:
		return actAwait{}
	case n < 94:
		return actStats{}
	case n < 96:
		return actReopen{d.Uint64()}
	default:
		return actCrash{d.Uint64(), []int{0, 30, 70, 100}[d.IntN(4)]}
	}
}

// key draws out of few keys, so that they meet. Some are prefixes of others,
// some have the bytes at the ends of the order, and a few are long.
func (d *drawer) key() string {
	const letters = "ab\x00\xff"
	if d.IntN(40) == 0 {
		return strings.Repeat(string(letters[d.IntN(len(letters))]), id.MaxKeyBytes)
	}
	key := make([]byte, d.IntN(5))
	for i := range key {
		key[i] = letters[d.IntN(len(letters))]
	}
	return string(key)
}

func (d *drawer) bound() []byte {
	if d.IntN(4) == 0 {
		return nil
	}
	return []byte(d.key())
}

func (d *drawer) limit() core.Limit {
	l := everything()
	if d.IntN(2) == 0 {
		l.Keys = d.IntN(30)
	}
	if d.IntN(2) == 0 {
		l.Bytes = d.IntN(2000)
	}
	return l
}

func (d *drawer) scan() actScan {
	a := actScan{from: d.bound(), to: d.bound(), limit: d.limit()}
	if d.IntN(3) == 0 {
		a.stop = 1 + d.IntN(10)
	}
	return a
}

func (d *drawer) commit() actCommit {
	a := actCommit{durability: core.Durability(d.IntN(2)), wait: d.IntN(3) == 0}
	n := d.IntN(6)
	if d.IntN(30) == 0 {
		n = 60
	}
	for range n {
		if key := d.key(); d.IntN(3) == 0 {
			a.batch = append(a.batch, remove(key))
		} else {
			a.batch = append(a.batch, core.Write{Key: []byte(key), Value: d.value()})
		}
	}
	return a
}

// value draws a value that differs from all others: small, around the sizes at
// which engines begin to do otherwise, or of many pages.
func (d *drawer) value() []byte {
	d.values++
	size := d.IntN(40)
	switch d.IntN(20) {
	case 0:
		size = 1000 + d.IntN(50)
	case 1, 2:
		size = d.IntN(10_000)
	case 3:
		if d.IntN(5) == 0 {
			size = d.IntN(200_000)
		}
	}
	text := fmt.Sprintf("%d,", d.values)
	return []byte(strings.Repeat(text, size/len(text)+1)[:size])
}
