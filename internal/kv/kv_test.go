package kv_test

import (
	"context"
	"errors"
	"maps"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/kv"
	"github.com/dynamo-kv/dynamo/internal/version"
)

func dot(node id.Node, counter uint64) version.Dot {
	return version.Dot{Actor: version.Actor{Node: node, Epoch: version.Epoch{Start: 1, Seq: 1}}, Counter: counter}
}

func TestFourOutcomesOfAComparison(t *testing.T) {
	one := version.Clock{}.With(dot("a", 1))
	two, other := one.With(dot("a", 2)), one.With(dot("b", 1))
	for _, c := range []struct {
		v, o version.Clock
		want kv.Ordering
		name string
	}{
		{one, one, kv.Equal, "equal"},
		{one, two, kv.Before, "before"},
		{two, one, kv.After, "after"},
		{two, other, kv.Concurrent, "concurrent"},
	} {
		got := kv.NewVectorClock(c.v).Compare(kv.NewVectorClock(c.o))
		if got != c.want || got.String() != c.name {
			t.Errorf("%v and %v: %v; want %v", c.v, c.o, got, c.name)
		}
	}
}

// The counters are the highest ones: of a write that has not seen those before it,
// its own.
func TestCountersOfAClock(t *testing.T) {
	c := version.Clock{}.With(dot("a", 1)).With(dot("a", 2)).With(dot("b", 1)).With(dot("b", 3)).With(dot("b", 7)).With(dot("c", 5))
	want := map[string]uint64{dot("a", 1).Actor.String(): 2, dot("b", 1).Actor.String(): 7, dot("c", 1).Actor.String(): 5}
	if got := kv.NewVectorClock(c).Counters(); !maps.Equal(got, want) {
		t.Errorf("%v; want %v", got, want)
	}
}

func TestContextsAsText(t *testing.T) {
	c := kv.NewContext(version.NewContext([]byte("k"), version.DotClock(dot("a", 1))))
	again, err := kv.ParseContext(c.Token())
	if err != nil || again.String() != c.Token() || !kv.Inner(again).Clock.Equal(kv.Inner(c).Clock) {
		t.Errorf("%v, %v; want %v", again, err, c)
	}
	var none *kv.Context
	if got, err := kv.ParseContext(none.Token()); got != nil || err != nil {
		t.Errorf("nothing that was seen comes back as %v, %v", got, err)
	}
	if _, err := kv.ParseContext("not one"); !errors.Is(err, kv.ErrInvalidContext) {
		t.Errorf("a token that nobody gave out: %v", err)
	}
}

func TestErrorsSayWhatHappened(t *testing.T) {
	quorum := &kv.QuorumError{Acknowledged: 1, Required: 2, Outcome: kv.Unknown}
	e := error(&kv.Error{
		Op: "put", Kind: kv.ErrQuorum, Outcome: kv.Unknown, Detail: quorum.Error(), Cause: quorum, RequestID: "r7",
	})
	if got, want := e.Error(), "dynamo: put: quorum not met: 1 of 2 replicas, unknown (request r7)"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
	var found *kv.QuorumError
	if !errors.Is(e, kv.ErrQuorum) || !errors.As(e, &found) || found != quorum || errors.Is(e, kv.ErrTimeout) {
		t.Errorf("the chain of %v has %v", e, found)
	}
	e = &kv.Error{Op: "get", Kind: context.Canceled}
	if got, want := e.Error(), "dynamo: get: context canceled"; got != want || !errors.Is(e, context.Canceled) {
		t.Errorf("%q; want %q", got, want)
	}
}
