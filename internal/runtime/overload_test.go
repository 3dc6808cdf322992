package runtime_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/runtime"
)

// step is what each key that is written costs a loop of a laboured node, in
// virtual time: with it a put costs its three owners a step each.
const step = 250 * time.Microsecond

// laboured is an engine that keeps a loop busy for as long as its batch is large,
// so that in virtual time there is a load that a node cannot carry.
type laboured struct{ runtime.Engine }

func (l laboured) Commit(batch []core.Write, d core.Durability, done func(error)) {
	keys := 0
	for _, w := range batch {
		if core.IsDataKey(w.Key) {
			keys++
		}
	}
	<-time.After(time.Duration(keys) * step)
	l.Engine.Commit(batch, d, done)
}

// offered is what became of puts that came at a rate, whatever became of those
// before.
type offered struct{ sent, ok, overloaded, other, most int }

// counted is for how long the puts of an offer count.
const counted = 400 * time.Millisecond

// offer sends puts for a while of warming up, and a while that counts.
func (c *cluster) offer(rate int, warm time.Duration) (o offered) {
	const tick = time.Millisecond
	const timeout = 500 * time.Millisecond
	results := make(chan core.Result)
	began, sent := time.Now(), 0
	counts := func(at time.Duration) bool { return at >= warm }
	for at := time.Duration(0); at < warm+counted; at += tick {
		<-time.After(time.Until(began.Add(at)))
		for ; sent < int(at.Seconds()*float64(rate)); sent++ {
			i := sent
			ctx, cancel := context.WithTimeout(c.t.Context(), timeout)
			go func() {
				defer cancel()
				r := c.nodes[i%len(c.nodes)].Do(ctx, &core.Request{
					Op: core.OpPut, Key: fmt.Appendf(nil, "key-%d", i%5000), Value: []byte("v"),
					Options: core.Options{Overwrite: true},
				}, timeout)
				if !counts(at) {
					r = core.Result{}
				}
				results <- r
			}()
		}
		for more := true; more; {
			select {
			case r := <-results:
				o.count(r)
				o.sent++
			default:
				more = false
			}
		}
		for _, n := range c.nodes {
			q := n.Queued()
			o.most = max(o.most, q.Clients+q.Peers)
		}
	}
	for ; o.sent < sent; o.sent++ {
		o.count(<-results)
	}
	return o
}

func (o *offered) count(r core.Result) {
	switch r.Code {
	case 0: // while it warmed up
	case core.CodeOK:
		o.ok++
	case core.CodeOverloaded:
		o.overloaded++
	default:
		o.other++
	}
}

// loops and owners are those of the clusters here, and capacity is how many puts
// a second they can do.
const (
	loops, owners = 12, 3
	capacity      = int(loops * time.Second / (owners * step))
)

// TestGoodputUnderOverload: when several times as much is asked of a cluster as it
// can do, it goes on doing four fifths of that at least; what is too much is
// turned away, and little waits.
func TestGoodputUnderOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, func(e runtime.Engine) runtime.Engine { return laboured{e} })
		const mostWaiting = 8192
		perSecond := func(n int) int { return int(time.Duration(n) * time.Second / counted) }
		peak := 0
		for _, load := range []struct {
			percent int
			warm    time.Duration // until the valve has found its limit
		}{{100, 100 * time.Millisecond}, {300, 600 * time.Millisecond}, {500, 600 * time.Millisecond}} {
			o := c.offer(capacity*load.percent/100, load.warm)
			t.Logf("%3d %% of %d/s: %d/s ok, %d/s overloaded, %d other, %d requests waited at most at a node",
				load.percent, capacity, perSecond(o.ok), perSecond(o.overloaded), o.other, o.most)
			peak = max(peak, o.ok)
			if load.percent > 100 && (5*o.ok < 4*peak || o.overloaded == 0) {
				t.Errorf("%d/s ok of a peak of %d/s, %d/s overloaded", perSecond(o.ok), perSecond(peak), perSecond(o.overloaded))
			}
			if o.most > mostWaiting {
				t.Errorf("%d requests wait at a node; want at most %d", o.most, mostWaiting)
			}
		}
	})
}

// TestCallersThatWaitAreServed: more callers than a cluster works for at a time,
// each of which waits for its answer, are served, though it takes a while: there
// is no more to do than can be done. Only at the beginning, while the cluster finds
// out how much that is, some are turned away.
func TestCallersThatWaitAreServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const callers, each = 1500, 40
		const timeout = 500 * time.Millisecond
		c := newCluster(t, 3, func(e runtime.Engine) runtime.Engine { return laboured{e} })
		results := make(chan core.Result)
		began := time.Now()
		for caller := range callers {
			go func() {
				for i := range each {
					results <- c.nodes[caller%len(c.nodes)].Do(t.Context(), &core.Request{
						Op: core.OpPut, Key: fmt.Appendf(nil, "key-%d", (caller*each+i*7)%5000), Value: []byte("v"),
						Options: core.Options{Overwrite: true},
					}, timeout)
				}
			}()
		}
		var o offered
		for range callers * each {
			o.count(<-results)
		}
		took := time.Since(began)
		t.Logf("%d callers: %.0f/s ok of %d/s, %d overloaded, %d other", callers, float64(o.ok)/took.Seconds(), capacity, o.overloaded, o.other)
		if o.overloaded > callers*each/20 || o.other > 0 {
			t.Errorf("%d requests were turned away and %d failed of %d", o.overloaded, o.other, callers*each)
		}
	})
}
