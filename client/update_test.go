package client_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/client"
)

// counts is a counter that several add to: each has a count of its own, which
// only grows.
type counts map[string]int

func parseCounts(data []byte) (counts, error) {
	c := counts{}
	if len(data) == 0 {
		return c, nil
	}
	return c, json.Unmarshal(data, &c)
}

func (c counts) sum() (n int) {
	for _, m := range c {
		n += m
	}
	return n
}

// mergeCounts is a Resolver.
func mergeCounts(siblings []client.Version) ([]byte, error) {
	all := counts{}
	for _, s := range siblings {
		c, err := parseCounts(s.Data)
		if err != nil {
			return nil, err
		}
		for who, n := range c {
			all[who] = max(all[who], n)
		}
	}
	return json.Marshal(all)
}

// TestCountersLoseNothing: several clients count in the same keys at the same
// time, while their connections are cut again and again.
func TestCountersLoseNothing(t *testing.T) {
	const clients, each = 4, 60
	nodes := startCluster(t, 3, memoryConfig())
	cut := newCutter()
	cfg := patient()
	cfg.Dial = cut.dial
	key := func(i int) string { return fmt.Sprint("counter-", i%3) }
	var counting sync.WaitGroup
	var done atomic.Int64
	for i := range clients {
		c := connect(t, cfg, nodes[i%len(nodes)])
		counting.Go(func() {
			who := fmt.Sprint("client-", i)
			for j := range each {
				_, err := c.Update(t.Context(), key(j), client.Modify(mergeCounts, func(value []byte) ([]byte, error) {
					all, err := parseCounts(value)
					if err != nil {
						return nil, err
					}
					all[who]++
					return json.Marshal(all)
				}), client.Settle(mergeCounts))
				if err != nil {
					t.Errorf("%s: %v", who, err)
				}
				if done.Add(1)%10 == 0 { // others are in the middle of theirs
					cut.all()
				}
			}
		})
	}
	counting.Wait()
	sum := 0
	c := connect(t, nil, nodes...)
	for i := range 3 {
		r, err := c.Get(t.Context(), key(i))
		if err != nil {
			t.Fatal(err)
		}
		merged, err := mergeCounts(r.Values)
		if err != nil {
			t.Fatal(err)
		}
		all, err := parseCounts(merged)
		if err != nil {
			t.Fatal(err)
		}
		sum += all.sum()
	}
	if sum != clients*each {
		t.Errorf("the counters have %d; %d were added", sum, clients*each)
	}
	if cut.count() == 0 {
		t.Error("no connection was cut")
	}
}

func TestUpdate(t *testing.T) {
	nodes := startCluster(t, 1, memoryConfig())
	c := connect(t, nil, nodes...)
	ctx := t.Context()
	add := func(s string) func([]client.Version) ([]byte, error) {
		return client.Modify(client.Union(","), func(v []byte) ([]byte, error) {
			return client.Union(",")([]client.Version{{Data: v}, {Data: []byte(s)}})
		})
	}
	if _, err := c.Update(ctx, "k", add("b")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(ctx, "k", []byte("c"), nil); err != nil { // it has seen nothing
		t.Fatal(err)
	}
	seen, err := c.Update(ctx, "k", add("a"), client.WithTimeout(time.Minute), client.BlockingRepair())
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Get(ctx, "k")
	if err != nil || len(r.Values) != 1 || string(r.Values[0].Data) != "a,b,c" {
		t.Fatalf("%v, %v", r, err)
	}
	if _, err := c.Put(ctx, "k", []byte("d"), seen); err != nil {
		t.Fatal(err)
	}
	if r, err = c.Get(ctx, "k"); err != nil || len(r.Values) != 1 || string(r.Values[0].Data) != "d" {
		t.Fatalf("the context of an update does not cover its value: %v, %v", r, err)
	}
	mine := errors.New("mine")
	_, err = c.Update(ctx, "k", func([]client.Version) ([]byte, error) { return nil, mine })
	if e, ok := errors.AsType[*client.Error](err); !ok || !errors.Is(err, mine) || e.Outcome != client.NotWritten {
		t.Errorf("an error of the change: %v", err)
	}
	for name, option := range map[string]client.Option{
		"overwrite": client.Overwrite(), "an idempotency key": client.WithIdempotencyKey("x"), "w": client.WithW(0),
	} {
		if _, err := c.Update(ctx, "k", add("z"), option); !errors.Is(err, client.ErrInvalidRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSettle: somebody writes between an update's read and its write; the
// update then merges.
func TestSettle(t *testing.T) {
	nodes := startCluster(t, 1, memoryConfig())
	c := connect(t, nil, nodes...)
	for settle, want := range map[bool]int{false: 2, true: 1} {
		key := fmt.Sprint(settle)
		var options []client.Option
		if settle {
			options = append(options, client.Settle(client.Union(",")))
		}
		_, err := c.Update(t.Context(), key, func([]client.Version) ([]byte, error) {
			_, err := c.Put(t.Context(), key, []byte("theirs"), nil)
			return []byte("mine"), err
		}, options...)
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.Get(t.Context(), key)
		if err != nil || len(r.Values) != want {
			t.Fatalf("settle %t: %d values, %v", settle, len(r.Values), err)
		}
		if settle && string(r.Values[0].Data) != "mine,theirs" {
			t.Errorf("they are settled to %q", r.Values[0].Data)
		}
	}
}

// TestUpdateGoesOn: what is provably not written is read and changed again, and
// what may have been written is not.
func TestUpdateGoesOn(t *testing.T) {
	for _, c := range []struct {
		outcome dynamov1.WriteOutcome
		changes int
	}{{notWritten, 2}, {unknown, 1}} {
		fail := first(1, fails(dynamov1.Reason_REASON_TOO_MANY_SIBLINGS, c.outcome), succeeds)
		_, cl := startFakes(t, patient(), func(r *dynamov1.Request) *dynamov1.Reply {
			if r.GetPut() != nil {
				return fail(r)
			}
			return succeeds(r)
		})
		changes := 0
		_, err := cl.Update(t.Context(), key, func([]client.Version) ([]byte, error) { changes++; return nil, nil })
		if changes != c.changes || (err == nil) != (c.outcome == notWritten) {
			t.Errorf("%v: %d changes, %v", c.outcome, changes, err)
		}
	}
}

// TestUpdateEnds: an update is tried five times, its merge three times, and all of
// it ends with its time.
func TestUpdateEnds(t *testing.T) {
	contended := func(r *dynamov1.Request) *dynamov1.Reply {
		reply := succeeds(r)
		if got := reply.GetGot(); got != nil {
			got.Values = append(got.Values, got.Values[0]) // there is always another sibling
		}
		return reply
	}
	full := fails(dynamov1.Reason_REASON_TOO_MANY_SIBLINGS, notWritten)
	fakes, c := startFakes(t, patient(), func(r *dynamov1.Request) *dynamov1.Reply {
		if r.GetPut() != nil {
			return full(r)
		}
		return succeeds(r)
	})
	changes := 0
	_, err := c.Update(t.Context(), key, func([]client.Version) ([]byte, error) { changes++; return nil, nil })
	if !errors.Is(err, client.ErrTooManySiblings) || changes != 5 || len(fakes[0].puts()) != 5 {
		t.Errorf("%d changes and %d puts, %v; want five", changes, len(fakes[0].puts()), err)
	}
	fakes, c = startFakes(t, patient(), contended)
	_, err = c.Update(t.Context(), key, client.LastWriteWins, client.Settle(client.LastWriteWins))
	if err != nil || len(fakes[0].puts()) != 1+3 {
		t.Errorf("%d puts, %v; want its own and three that merge", len(fakes[0].puts()), err)
	}
	const timeout = 50 * time.Millisecond
	_, err = c.Update(t.Context(), key, func([]client.Version) ([]byte, error) {
		<-time.After(2 * timeout) // which is all of its time
		return nil, nil
	}, client.WithTimeout(timeout))
	if e, ok := errors.AsType[*client.Error](err); !ok || !errors.Is(err, client.ErrTimeout) || e.Outcome != client.NotWritten {
		t.Errorf("an update that takes too long: %v", err)
	}
}

func TestResolvers(t *testing.T) {
	at := func(data string, sec int64) client.Version {
		return client.Version{Data: []byte(data), Timestamp: time.Unix(sec, 0)}
	}
	siblings := []client.Version{at("b,a", 2), at("c,b", 3), at("", 1), at("d", 3)}
	for range len(siblings) {
		siblings = append(siblings[1:], siblings[0])
		if v, err := client.LastWriteWins(siblings); err != nil || string(v) != "d" {
			t.Errorf("the last write is %q, %v", v, err)
		}
		if v, err := client.Union(",")(siblings); err != nil || string(v) != "a,b,c,d" {
			t.Errorf("the union is %q, %v", v, err)
		}
	}
	fail := errors.New("mine")
	broken := client.Modify(func([]client.Version) ([]byte, error) { return nil, fail }, func(v []byte) ([]byte, error) { return v, nil })
	if _, err := broken(siblings); !errors.Is(err, fail) {
		t.Errorf("a resolver that fails: %v", err)
	}
	if v, err := broken(nil); err != nil || v != nil {
		t.Errorf("a key that does not exist: %q, %v", v, err)
	}
}

func TestMany(t *testing.T) {
	nodes := startCluster(t, 3, memoryConfig())
	c := connect(t, nil, nodes[0])
	const items, underWay = 500, 128
	i := 0
	keys := func(yield func(string) bool) {
		for n := range items {
			if n > i+underWay {
				t.Fatalf("%d are under way; want at most %d", n-i, underWay)
			}
			if !yield(fmt.Sprint("key-", n)) {
				return
			}
		}
	}
	for w := range c.PutMany(t.Context(), func(yield func(client.Item) bool) {
		for k := range keys {
			if !yield(client.Item{Key: k, Value: []byte(strings.ToUpper(k))}) {
				return
			}
		}
	}) {
		if w.Err != nil || w.Key != fmt.Sprint("key-", i) || w.Context == nil {
			t.Fatalf("item %d: %+v", i, w)
		}
		i++
	}
	if i != items {
		t.Errorf("%d of %d items", i, items)
	}
	i = 0
	for g := range c.GetMany(t.Context(), func(yield func(string) bool) {
		keys(yield)
		yield("never")
	}) {
		switch {
		case i == items:
			if g.Key != "never" || !errors.Is(g.Err, client.ErrKeyNotFound) || g.Result == nil {
				t.Errorf("a key that does not exist: %+v", g)
			}
		case g.Err != nil || !bytes.Equal(g.Result.Values[0].Data, []byte(strings.ToUpper(g.Key))):
			t.Errorf("item %d: %+v", i, g)
		}
		i++
	}
	if i != items+1 { // never is the last
		t.Errorf("%d of %d items", i, items+1)
	}
	begun := 0
	for range c.GetMany(t.Context(), func(yield func(string) bool) {
		for k := range keys {
			begun++
			if !yield(k) {
				return
			}
		}
	}) {
		break
	}
	if begun == 0 || begun == items {
		t.Errorf("a loop that was left began %d reads", begun)
	}
}

// TestManyReportNoQuorum: one report is not filled in by many requests at a time.
func TestManyReportNoQuorum(t *testing.T) {
	c := connect(t, nil, startCluster(t, 1, memoryConfig())...)
	var met client.QuorumMet
	keys, items := slices.Values([]string{"a", "b"}), slices.Values([]client.Item{{Key: "a"}, {Key: "b"}})
	for g := range c.GetMany(t.Context(), keys, client.ReportQuorum(&met)) {
		if !errors.Is(g.Err, client.ErrInvalidRequest) {
			t.Errorf("a read of %s: %v", g.Key, g.Err)
		}
	}
	for w := range c.PutMany(t.Context(), items, client.ReportQuorum(&met)) {
		if !errors.Is(w.Err, client.ErrInvalidRequest) {
			t.Errorf("a write of %s: %v", w.Key, w.Err)
		}
	}
}
