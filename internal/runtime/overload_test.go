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

// offer sends puts for 300 ms of warming up and half a second that counts.
func (c *cluster) offer(rate int) (o offered) {
	const warm, tick, length = 300 * time.Millisecond, time.Millisecond, 800 * time.Millisecond
	const timeout = 500 * time.Millisecond
	results := make(chan core.Result)
	began, sent := time.Now(), 0
	counts := func(at time.Duration) bool { return at >= warm }
	for at := time.Duration(0); at < length; at += tick {
		<-time.After(time.Until(began.Add(at)))
		for ; sent < int(at.Seconds()*float64(rate)); sent++ {
			ctx, cancel := context.WithTimeout(c.t.Context(), timeout)
			go func() {
				defer cancel()
				r := c.nodes[sent%len(c.nodes)].Do(ctx, &core.Request{
					Op: core.OpPut, Key: fmt.Appendf(nil, "key-%d", sent%5000), Value: []byte("v"),
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

// TestGoodputUnderOverload: when three times as much is asked of a cluster as it
// can do, it goes on doing four fifths of that at least; what is too much is
// turned away, and little waits.
func TestGoodputUnderOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, func(e runtime.Engine) runtime.Engine { return laboured{e} })
		const loops, owners, mostWaiting = 12, 3, 10_000
		capacity := int(loops * time.Second / (owners * step))
		peak := 0
		for _, percent := range []int{80, 100, 300} {
			o := c.offer(capacity * percent / 100)
			t.Logf("%3d %% of %d/s: %d/s ok, %d overloaded, %d other, %d requests waited at most at a node",
				percent, capacity, 2*o.ok, o.overloaded, o.other, o.most)
			peak = max(peak, o.ok)
			if percent > 100 && (5*o.ok < 4*peak || o.overloaded == 0) {
				t.Errorf("%d/s ok of a peak of %d/s, %d overloaded", 2*o.ok, 2*peak, o.overloaded)
			}
			if o.most > mostWaiting {
				t.Errorf("%d requests wait at a node; want at most %d", o.most, mostWaiting)
			}
		}
	})
}
