package bench

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynamo-kv/dynamo/internal/bench/keys"
)

// Options say what a load is.
type Options struct {
	Workload     Workload
	Distribution keys.Distribution
	Keys         uint64        // that exist from the start, at least 1
	ValueBytes   int           // of each value
	Callers      int           // at least 1
	Timeout      time.Duration // of an operation
	Seed         uint64        // of keys, values and operations
}

// Plan is one run.
type Plan struct {
	Duration time.Duration
	// Rate is how many operations a second become due, in an open loop. 0 is a
	// closed loop.
	Rate float64
	// Events happen meanwhile.
	Events []Event
	// Settle is how long after each mark the measurements are kept apart.
	Settle time.Duration
	// Progress is told each second, from one goroutine; it may be nil.
	Progress func(Progress)
}

// Event is something that happens at a time of a run. Do calls mark when it
// has happened, with words for it, as often as there is something to mark. An
// error ends the run.
type Event struct {
	At time.Duration
	Do func(ctx context.Context, mark func(name string)) error
}

// Progress is how far a run has come.
type Progress struct {
	Elapsed, Duration time.Duration // Duration is 0 where Total bounds it
	Done, Total       uint64        // Total is 0 where Duration bounds it
	Last              Point         // the last second
}

// Load puts operations on a database. Its methods are called one at a time.
type Load struct {
	db       DB
	opts     Options
	values   values
	inserts  *inserts
	sequence uint64 // of the runs, so that no two draw the same
}

// New returns a load on db.
func New(db DB, o Options) *Load {
	var seed [32]byte
	for i := range 8 {
		seed[i] = byte(o.Seed >> (8 * i))
	}
	return &Load{
		db: db, opts: o,
		values:  newValues(o.ValueBytes, rand.NewChaCha8(seed)),
		inserts: newInserts(o.Keys),
	}
}

// run is one run or fill in progress.
type run struct {
	*Load
	*meter
	plan   Plan
	start  time.Time
	next   atomic.Uint64
	total  uint64       // operations of a fill, or of an open loop
	filled atomic.Int64 // when a fill has last had a key taken, in nanoseconds since start
	every  time.Duration
	points []Point
	pause  time.Duration // the most by which a point was late
}

const (
	// A timeline has points of a tenth of a second, or as many as a plot can
	// show.
	shortPoint   = 100 * time.Millisecond
	longTimeline = 600
	progressEach = time.Second
)

func (l *Load) begin(p Plan, total uint64) *run {
	l.sequence++
	r := &run{Load: l, plan: p, start: time.Now(), total: total, every: shortPoint}
	var end time.Time // a fill has none
	if p.Duration > 0 {
		end = r.start.Add(p.Duration)
		r.every = max(shortPoint, (p.Duration / longTimeline).Truncate(shortPoint))
	}
	r.meter = newMeter(r.start, end, p.Settle)
	return r
}

const (
	// A node that is overloaded is asked to take a key again after a pause that
	// grows from fillPause to fillLongest.
	fillPause   = 50 * time.Millisecond
	fillLongest = 3 * time.Second
	// fillPatience is how long no key at all may be taken. That one key is turned
	// away says nothing: with many callers some are, again and again.
	fillPatience = 10 * time.Second
)

// Fill writes every key once. It ends with the first error, but for that of nodes
// which are overloaded and still take keys: those that are missing would make
// what is measured after it worthless.
func (l *Load) Fill(ctx context.Context, progress func(Progress)) (*Result, error) {
	r := l.begin(Plan{Progress: progress}, l.opts.Keys)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.callers(ctx, func(ctx context.Context, c *caller) {
		for ctx.Err() == nil {
			i := r.next.Add(1) - 1
			if i >= r.total {
				return
			}
			if err := c.insert(ctx, i); err != nil {
				cancel(err)
			}
		}
	})
	err := context.Cause(ctx)
	return r.result(err != nil), err
}

// insert writes a key, and again while its node is overloaded.
func (c *caller) insert(ctx context.Context, i uint64) error {
	for pause := fillPause; ; pause = min(2*pause, fillLongest) {
		now := time.Now()
		err := c.do(ctx, OpInsert, i, now, now)
		if err == nil {
			c.filled.Store(int64(time.Since(c.start)))
			return nil
		}
		if kindOf(err) != KindOverloaded || time.Since(c.start)-time.Duration(c.filled.Load()) > fillPatience {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// Run does the plan. It returns what was measured also when ctx has ended
// before the plan has; the error is that of an event.
func (l *Load) Run(interrupted context.Context, p Plan) (*Result, error) {
	r := l.begin(p, uint64(p.Duration.Seconds()*p.Rate))
	ctx, cancel := context.WithCancelCause(interrupted)
	defer cancel(nil)
	var events sync.WaitGroup
	for _, e := range p.Events {
		events.Go(func() {
			if err := r.happen(ctx, e); err != nil {
				cancel(err)
			}
		})
	}
	work := r.closed
	if p.Rate > 0 {
		work = r.open
	}
	r.callers(ctx, work)
	err := context.Cause(ctx)
	cancel(nil) // what an event still waits for
	events.Wait()
	if interrupted.Err() != nil {
		return r.result(true), nil
	}
	return r.result(err != nil), err
}

// happen waits for an event and does it.
func (r *run) happen(ctx context.Context, e Event) error {
	if !waitUntil(ctx, r.start.Add(e.At)) {
		return nil
	}
	err := e.Do(ctx, func(name string) { r.segments.mark(name, time.Now()) })
	if ctx.Err() == nil {
		return err
	}
	return nil // it was cut short by the end of the run
}

// callers runs that many callers, and a timeline beside them, until they have
// ended.
func (r *run) callers(ctx context.Context, work func(context.Context, *caller)) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		r.watch(stop)
	}()
	var wg sync.WaitGroup
	for i := range r.opts.Callers {
		random := func(purpose uint64) *rand.Rand {
			return rand.New(rand.NewPCG(r.opts.Seed, r.sequence<<32|uint64(i)<<1|purpose))
		}
		c := &caller{
			run: r, index: i, random: random(0),
			keys: keys.NewChooser(r.opts.Distribution, r.opts.Keys, random(1)),
		}
		wg.Go(func() { work(ctx, c) })
	}
	wg.Wait()
	close(stop)
	<-stopped
}

// watch collects the timeline and tells of the progress.
func (r *run) watch(stop <-chan struct{}) {
	ticker := time.NewTicker(r.every)
	defer ticker.Stop()
	last, told := r.start, r.start
	since := newRecent()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			now := time.Now()
			r.pause = max(r.pause, now.Sub(last)-r.every)
			latest := r.take()
			r.points = append(r.points, latest.point(r.start, last, now))
			last = now
			since.add(latest)
			if now.Sub(told) >= progressEach && r.plan.Progress != nil {
				r.plan.Progress(r.progress(since.point(r.start, told, now), now))
				told, since = now, newRecent()
			}
		}
	}
}

func (r *run) progress(last Point, now time.Time) Progress {
	p := Progress{Elapsed: now.Sub(r.start), Duration: r.plan.Duration, Last: last}
	if p.Duration == 0 {
		p.Done, p.Total = min(r.next.Load(), r.total), r.total
	}
	return p
}

// caller is one of those who ask, one question at a time.
type caller struct {
	*run
	index  int
	random *rand.Rand
	keys   *keys.Chooser
}

// closed asks as soon as the last answer is there.
func (r *run) closed(ctx context.Context, c *caller) {
	for ctx.Err() == nil {
		now := time.Now()
		if !now.Before(r.end) {
			return
		}
		c.operation(ctx, now, now)
	}
}

// open asks when a request is due, or as soon as a caller is free for one that
// is overdue.
func (r *run) open(ctx context.Context, c *caller) {
	pause := float64(time.Second) / r.plan.Rate
	for {
		i := r.next.Add(1) - 1
		if i >= r.total {
			return
		}
		due := r.start.Add(time.Duration(float64(i) * pause))
		if !waitUntil(ctx, due) {
			r.next.Add(^uint64(0)) // it has not begun
			return
		}
		now := time.Now()
		if !now.Before(r.end) {
			r.next.Add(^uint64(0))
			return
		}
		c.operation(ctx, due, now)
	}
}

// waitUntil says whether the time has come before ctx has ended.
func waitUntil(ctx context.Context, t time.Time) bool {
	wait := time.Until(t)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// operation does what the workload draws.
func (c *caller) operation(ctx context.Context, due, sent time.Time) {
	op := c.opts.Workload.pick(c.random)
	if op == OpInsert {
		i := c.inserts.begin()
		_ = c.do(ctx, op, i, due, sent) // it is counted
		c.inserts.end(i)
		return
	}
	_ = c.do(ctx, op, c.keys.Next(c.written()), due, sent) // it is counted
}

func (c *caller) written() uint64 {
	if c.opts.Distribution != keys.Latest {
		return c.opts.Keys
	}
	return c.inserts.count()
}

// do does one operation and records it, unless the run was ended in it.
func (c *caller) do(ctx context.Context, op Op, i uint64, due, sent time.Time) error {
	one, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	key := keyName(i)
	var err error
	switch op {
	case OpGet:
		err = c.db.Get(one, key)
	case OpModify:
		err = c.db.Modify(one, key, c.values.next(c.random))
	default:
		err = c.db.Put(one, key, c.values.next(c.random))
	}
	if err != nil && ctx.Err() != nil {
		return nil
	}
	c.record(c.index, op, due, sent, time.Now(), err)
	return err
}
