package version

import (
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/id"
)

// The dumb twin. A replica is the set of events that it has heard of, and
// every event carries all that its writer had seen, dot by dot. Nothing is
// ever forgotten, and what a replica holds is read off the definition.

type modelEvent struct {
	version  Version
	replaces dotSet // the dots that the request's context covered
}

type modelReplica map[Dot]modelEvent

// seen is every dot that the replica has heard of: events and what they
// replace, which may never have arrived.
func (r modelReplica) seen() dotSet {
	s := dotSet{}
	for d, e := range r {
		s[d] = true
		s.add(e.replaces)
	}
	return s
}

// present are the versions of events that no event replaces.
func (r modelReplica) present() map[Dot]Version {
	out := map[Dot]Version{}
	for d, e := range r {
		out[d] = e.version
	}
	for _, e := range r {
		for d := range e.replaces {
			delete(out, d)
		}
	}
	return out
}

// modelState is a replica's state and its twin's at one moment.
type modelState struct {
	set  Siblings
	twin modelReplica
}

// modelContext is what a client holds, both ways.
type modelContext struct {
	clock Clock
	dots  dotSet
}

// modelWorld runs replicas of one key and their twins side by side. States
// and contexts of the past are kept, and delivered in any order.
type modelWorld struct {
	replicas []modelState
	epochs   []Epoch // of each replica's actor
	past     []modelState
	contexts []modelContext
	writes   int
}

func newModelWorld(n int) *modelWorld {
	w := &modelWorld{contexts: []modelContext{{dots: dotSet{}}}} // the first has seen nothing
	for i := range n {
		w.replicas = append(w.replicas, modelState{twin: modelReplica{}})
		w.epochs = append(w.epochs, Epoch{Start: uint64(i), Seq: 1})
	}
	return w
}

func (w *modelWorld) replica(t *rapid.T) int {
	return rapid.IntRange(0, len(w.replicas)-1).Draw(t, "replica")
}

func (w *modelWorld) context(t *rapid.T) modelContext {
	return rapid.SampledFrom(w.contexts).Draw(t, "context")
}

// put writes at a replica in a context, and keeps the context it returns.
func (w *modelWorld) put(t *rapid.T, r int, ctx modelContext, tombstone bool) {
	w.writes++
	write := Write{ID: WriteID{byte(w.writes), byte(w.writes >> 8)}, Timestamp: int64(-w.writes), Tombstone: tombstone}
	if !tombstone {
		write.Data = fmt.Appendf(nil, "write %d", w.writes)
	}
	state := &w.replicas[r]
	a := Actor{Node: id.Node(fmt.Sprintf("n%d", r)), Epoch: w.epochs[r]}
	want := Dot{a, max(state.twin.seen().max(a), ctx.dots.max(a)) + 1}

	set, got := state.set.Put(ctx.clock, a, write)
	if got != want {
		t.Fatalf("minted %s, want %s", got, want)
	}
	state.set = set
	state.twin = maps.Clone(state.twin)
	state.twin[want] = modelEvent{
		version:  Version{Dot: want, WriteID: write.ID, Timestamp: write.Timestamp, Tombstone: tombstone, Data: write.Data},
		replaces: ctx.dots,
	}
	dots := maps.Clone(ctx.dots)
	dots[want] = true
	w.contexts = append(w.contexts, modelContext{ctx.clock.With(want), dots})
}

// deliver merges a state into a replica.
func (w *modelWorld) deliver(t *rapid.T, r int, from modelState) {
	state := &w.replicas[r]
	set, err := Merge(state.set, from.set)
	if err != nil {
		t.Fatal(err)
	}
	twin := maps.Clone(state.twin)
	maps.Copy(twin, from.twin)
	*state = modelState{set, twin}
}

// freshEpoch gives a replica an actor that has never minted.
func (w *modelWorld) freshEpoch(r int) {
	w.writes++
	w.epochs[r].Start += 10
}

func (w *modelWorld) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"put":    func(t *rapid.T) { w.put(t, w.replica(t), w.context(t), false) },
		"delete": func(t *rapid.T) { w.put(t, w.replica(t), w.context(t), true) },
		"blind":  func(t *rapid.T) { w.put(t, w.replica(t), w.contexts[0], false) },
		"overwrite": func(t *rapid.T) {
			r := w.replica(t)
			w.put(t, r, w.replicas[r].context(), false)
		},
		"read": func(t *rapid.T) { w.contexts = append(w.contexts, w.replicas[w.replica(t)].context()) },
		"join contexts": func(t *rapid.T) {
			a, b := w.context(t), w.context(t)
			dots := maps.Clone(a.dots)
			dots.add(b.dots)
			w.contexts = append(w.contexts, modelContext{a.clock.Join(b.clock), dots})
		},
		"merge": func(t *rapid.T) { w.deliver(t, w.replica(t), w.replicas[w.replica(t)]) },
		"store or receive": func(t *rapid.T) {
			state := &w.replicas[w.replica(t)]
			state.set = known(t, state.set)
		},
		"send": func(t *rapid.T) { w.past = append(w.past, w.replicas[w.replica(t)]) },
		"late message": func(t *rapid.T) {
			if len(w.past) > 0 {
				w.deliver(t, w.replica(t), rapid.SampledFrom(w.past).Draw(t, "message"))
			}
		},
		"restart": func(t *rapid.T) { w.freshEpoch(w.replica(t)) },
		"old disk": func(t *rapid.T) {
			if len(w.past) > 0 {
				r := w.replica(t)
				w.replicas[r] = rapid.SampledFrom(w.past).Draw(t, "disk")
				w.freshEpoch(r)
			}
		},
		"wiped disk": func(t *rapid.T) {
			r := w.replica(t)
			w.replicas[r] = modelState{twin: modelReplica{}}
			w.freshEpoch(r)
		},
		"": w.check,
	}
}

// context is what a read of this state alone returns.
func (s modelState) context() modelContext { return modelContext{s.set.Clock, s.twin.seen()} }

// check compares every replica with its twin.
func (w *modelWorld) check(t *rapid.T) {
	for r, state := range w.replicas {
		if err := state.set.Validate(); err != nil {
			t.Fatalf("replica %d: %v", r, err)
		}
		if got, want := dotsOf(state.set.Clock), state.twin.seen(); !maps.Equal(got, want) {
			t.Fatalf("replica %d: the clock covers %v, want %v", r, got, want)
		}
		want := state.twin.present()
		if len(state.set.Versions) != len(want) {
			t.Fatalf("replica %d: %d versions, want %d", r, len(state.set.Versions), len(want))
		}
		for _, v := range state.set.Versions {
			if o, ok := want[v.Dot]; !ok || !v.equal(&o) {
				t.Fatalf("replica %d: version %v, want %v", r, v, o)
			}
		}
		requireRoundTrip(t, state.set)
	}
}

// TestSiblingsAreWhatTheHistorySays runs random schedules of writes, merges,
// late messages and lost disks against the twin.
func TestSiblingsAreWhatTheHistorySays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newModelWorld(rapid.IntRange(1, 3).Draw(t, "replicas"))
		t.Repeat(w.actions())

		for i := range w.replicas { // whoever hears of everything agrees
			for j := range w.replicas {
				w.deliver(t, i, w.replicas[j])
			}
		}
		w.check(t)
		for i := range w.replicas {
			w.deliver(t, i, w.replicas[len(w.replicas)-1])
			if !w.replicas[i].set.Equal(w.replicas[0].set) {
				t.Fatalf("replica %d: %v, replica 0: %v", i, w.replicas[i].set, w.replicas[0].set)
			}
		}
	})
}
