package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/core/coretest"
	"github.com/dynamo-kv/dynamo/internal/replica"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// story is a history of one key that a test makes up, and the layout of its
// three owners.
type story struct {
	t      *testing.T
	w      *world
	k      *keyHistory
	layout *ring.Layout
}

func newStory(t *testing.T) *story {
	t.Helper()
	plan := &Plan{
		Seed: 1, Length: time.Hour, Initial: 3, Nodes: 3, Shards: 1, Partitions: 1, N: 3, R: 2, W: 2, Strict: true,
		Request: time.Second, Clients: 1, Keys: 1, Seeds: make([]joinStyle, maxNodes), Weights: make([]uint32, maxNodes),
	}
	w := newWorld(plan, nil)
	var members []ring.Member
	for _, p := range w.nodes {
		members = append(members, ring.Member{ID: p.id, Weight: 1})
		p.exists = true
		w.noteRecovered(p)
	}
	l, err := ring.Form(1, 3, members)
	if err != nil {
		t.Fatal(err)
	}
	return &story{t: t, w: w, k: w.history.keys[0], layout: l}
}

// put begins a write that has seen context, and mints it at n1 on top of set.
func (s *story) put(set version.Siblings, context *held) (*operation, version.Siblings, version.Dot) {
	s.t.Helper()
	h := s.w.history
	o := s.w.clients[0].put(s.w, s.k, context, false)
	clock := version.Clock{}
	if context != nil {
		clock = context.clock
	}
	a := version.Actor{Node: "n1", Epoch: version.Epoch{Start: 1, Seq: 1}}
	set, dot := set.Put(clock, a, version.Write{ID: o.write.id, Data: o.write.value})
	v, ok := set.Find(o.write.id)
	if !ok {
		s.t.Fatal("a put is not in its own set")
	}
	h.minted(s.w.nodes[0], s.k, &set, &v)
	return o, set, dot
}

// acked tells the client of a write that it is written.
func (s *story) acked(o *operation, dot version.Dot) *held {
	c := version.Clock{}
	if o.write.context != nil {
		c = o.write.context.clock
	}
	s.w.history.written(o, &core.Result{Code: core.CodeOK, Outcome: core.Written, Context: c.With(dot)})
	return s.w.clients[0].last[0]
}

// expect fails unless exactly these checkers have complained.
func (s *story) expect(checkers ...string) {
	s.t.Helper()
	if got := s.w.report.Checkers(); !slices.Equal(got, checkers) {
		s.t.Errorf("the checkers %q have complained; want %q: %v", got, checkers, s.w.report.Violations)
	}
}

func copies(sets ...version.Siblings) []copyOf {
	var out []copyOf
	for i, set := range sets {
		out = append(out, copyOf{nodeID(i), set})
	}
	return out
}

func TestGoodHistoryPasses(t *testing.T) {
	s := newStory(t)
	first, set, dot := s.put(version.Siblings{}, nil)
	seen := s.acked(first, dot)
	second, newer, dot2 := s.put(set, seen)
	s.acked(second, dot2)
	blind, both, dot3 := s.put(newer, nil)
	s.acked(blind, dot3)
	s.w.checkKey(s.layout, s.k, copies(both, both, set))
	get := s.w.clients[0].get(s.w, s.k)
	get.must = s.w.history.overlapping(s.k, 2)
	s.w.history.gotten(get, &core.Result{Code: core.CodeOK, Set: both, Context: both.Clock})
	s.expect()
}

func TestLostWriteIsFound(t *testing.T) {
	s := newStory(t)
	o, set, dot := s.put(version.Siblings{}, nil)
	s.acked(o, dot)
	s.put(set, nil) // another write of the same node, not acknowledged
	s.w.checkKey(s.layout, s.k, nil)
	s.expect("lost write", "strict quorum")
}

func TestObservedVersionMustStay(t *testing.T) {
	s := newStory(t)
	_, set, _ := s.put(version.Siblings{}, nil)
	s.w.history.gotten(s.w.clients[0].get(s.w, s.k), &core.Result{Code: core.CodeOK, Set: set, Context: set.Clock})
	s.w.checkKey(s.layout, s.k, nil)
	s.expect("lost write")
}

func TestFalseSiblingIsFound(t *testing.T) {
	s := newStory(t)
	first, set, dot := s.put(version.Siblings{}, nil)
	seen := s.acked(first, dot)
	second, newer, dot2 := s.put(set, seen)
	s.acked(second, dot2)
	v, _ := newer.Find(second.write.id)
	forgetful := version.Siblings{Clock: version.DotClock(dot2), Versions: []version.Version{v}}
	s.w.checkKey(s.layout, s.k, copies(set, forgetful, forgetful))
	s.expect("false sibling")
}

func TestPhantomsAreFound(t *testing.T) {
	s := newStory(t)
	a := version.Actor{Node: "n2", Epoch: version.Epoch{Start: 2, Seq: 1}}
	strange, _ := version.Siblings{}.Put(version.Clock{}, a, version.Write{ID: version.WriteID{1}, Data: []byte("nobody wrote this")})
	s.w.checkKey(s.layout, s.k, copies(strange, strange, strange))
	s.expect("phantom", "context") // the clock covers a dot that was never minted

	s = newStory(t)
	o, _, _ := s.put(version.Siblings{}, nil)
	s.w.history.written(o, &core.Result{Code: core.CodeQuorum, Outcome: core.NotWritten})
	s.expect("phantom")
}

func TestStrictQuorumIsChecked(t *testing.T) {
	s := newStory(t)
	o, _, dot := s.put(version.Siblings{}, nil)
	s.acked(o, dot)
	get := s.w.clients[0].get(s.w, s.k)
	get.must = s.w.history.overlapping(s.k, 2)
	s.w.history.gotten(get, &core.Result{Code: core.CodeNotFound})
	s.expect("strict quorum")
	if must := s.w.history.overlapping(s.k, 1); !must.IsEmpty() {
		t.Errorf("a get with R=1 must find %v of a put with W=2 of 3 replicas", must)
	}
}

func TestContextsAreChecked(t *testing.T) {
	s := newStory(t)
	_, set, _ := s.put(version.Siblings{}, nil)
	second, newer, _ := s.put(set, nil)
	// The blind second put has not seen the first one.
	s.w.history.written(second, &core.Result{Code: core.CodeOK, Outcome: core.Written, Context: newer.Clock})
	s.expect("context")

	s = newStory(t)
	o, _, _ := s.put(version.Siblings{}, nil)
	s.w.history.written(o, &core.Result{Code: core.CodeOK, Outcome: core.Written})
	s.expect("reply")
}

func TestEqualDotsAreFound(t *testing.T) {
	s := newStory(t)
	_, set, _ := s.put(version.Siblings{}, nil)
	other := version.Siblings{Clock: set.Clock, Versions: slices.Clone(set.Versions)}
	other.Versions[0].Timestamp++
	s.w.checkKey(s.layout, s.k, copies(set, other, set))
	s.expect("equal dots")
}

func TestAnswersAreHeldToTheDisks(t *testing.T) {
	s := newStory(t)
	o, set, dot := s.put(version.Siblings{}, nil)
	n1, n2 := s.w.nodes[0], s.w.nodes[1]
	n1.view = &core.View{Layouts: core.LayoutState{Live: []*ring.Layout{s.layout}, Phase: core.PhaseDone}}
	get := s.w.clients[0].get(s.w, s.k)
	n1.durable[0] = set
	s.w.checkDurable(n1, get, &core.Result{Code: core.CodeOK, Set: set, Context: set.Clock})
	s.expect()
	ok := &core.Result{Code: core.CodeOK, Outcome: core.Written, Context: version.DotClock(dot)}
	n2.durable[0] = set
	s.w.checkDurable(n1, o, ok)
	s.expect()
	n2.durable[0] = version.Siblings{}
	s.w.checkDurable(n1, o, ok)
	s.expect("durable")
}

func TestMovedLayoutIsChecked(t *testing.T) {
	s := newStory(t)
	o, set, dot := s.put(version.Siblings{}, nil)
	s.acked(o, dot)
	s.w.nodes[0].durable[0] = set
	s.w.nodes[1].durable[0] = set
	s.w.checkMoved(s.layout)
	s.expect()
	s.w.nodes[1].durable[0] = version.Siblings{}
	s.w.checkMoved(s.layout)
	s.expect("strict quorum")
}

// bury deletes what a set has, at n1, and brings the tombstone to some nodes'
// disks.
func (s *story) bury(set version.Siblings, at ...int) version.Siblings {
	s.t.Helper()
	seen := &held{clock: set.Clock}
	for i := range s.k.mints {
		seen.seen.Put(i)
	}
	o := s.w.clients[0].put(s.w, s.k, seen, true)
	a := version.Actor{Node: "n1", Epoch: version.Epoch{Start: 1, Seq: 1}}
	set, dot := set.Put(set.Clock, a, version.Write{ID: o.write.id, Tombstone: true})
	v, _ := set.Find(o.write.id)
	s.w.history.minted(s.w.nodes[0], s.k, &set, &v)
	s.acked(o, dot)
	for _, i := range at {
		s.w.nodes[i].durable[0], s.w.nodes[i].held[0] = set, set
	}
	return set
}

// removed has a node remove its record of the key.
func (s *story) removed(n int) {
	s.w.history.removed(s.w.nodes[n], &loop{view: s.view()}, core.DataKey(s.k.key))
}

func (s *story) view() *core.View {
	return &core.View{Layouts: core.LayoutState{Live: []*ring.Layout{s.layout}, Phase: core.PhaseDone}}
}

func TestGoodReapingPasses(t *testing.T) {
	s := newStory(t)
	o, set, dot := s.put(version.Siblings{}, nil)
	s.acked(o, dot)
	s.bury(set, 0, 1, 2)
	for _, p := range s.w.nodes {
		s.removed(p.index)
		p.durable[0] = version.Siblings{}
	}
	again, newer, dot2 := s.put(version.Siblings{}, nil)
	s.acked(again, dot2)
	s.w.checkKey(s.layout, s.k, copies(newer, newer, newer))
	s.expect()
	if n := s.w.report.Stats; n.Reaped != 3 || n.Recreated != 1 {
		t.Errorf("%d removals, %d keys written again", n.Reaped, n.Recreated)
	}
}

func TestResurrectionIsFound(t *testing.T) {
	s := newStory(t)
	o, set, dot := s.put(version.Siblings{}, nil)
	s.acked(o, dot)
	s.bury(set, 0, 1, 2)
	s.removed(0)
	s.expect()
	s.w.history.gotten(s.w.clients[0].get(s.w, s.k), &core.Result{Code: core.CodeOK, Set: set, Context: set.Clock})
	s.expect("resurrection")

	s = newStory(t) // without a removal: by its history alone
	o, set, dot = s.put(version.Siblings{}, nil)
	s.acked(o, dot)
	s.bury(set)
	s.w.checkKey(s.layout, s.k, copies(set, set, set))
	s.expect("lost write", "resurrection", "strict quorum")
}

func TestBadReapingIsFound(t *testing.T) {
	s := newStory(t)
	o, set, dot := s.put(version.Siblings{}, nil)
	s.acked(o, dot)
	s.bury(set, 0, 1)
	s.removed(0)
	s.expect("forgetting") // n3 has not got the tombstone

	s = newStory(t)
	_, set, _ = s.put(version.Siblings{}, nil)
	s.w.nodes[0].held[0] = set
	s.removed(0)
	s.expect("forgetting") // it is a value

	s = newStory(t)
	_, set, _ = s.put(version.Siblings{}, nil)
	stone := s.bury(set, 0, 1, 2)
	s.w.nodes[1].held[0] = set // in memory, out of nowhere
	s.w.nodes[1].up = true
	s.w.nowhere(s.w.nodes[0], s.k, stone)
	s.expect("forgetting")
	s = newStory(t)
	_, set, _ = s.put(version.Siblings{}, nil)
	stone = s.bury(set, 0, 1, 2)
	s.w.history.pruned(s.w.nodes[0], s.k, stone, version.Siblings{Clock: version.Clock{}})
	s.expect("forgetting") // the tombstone's own entry
}

// A sloppy write need not be found by a quorum of owners.
func TestSloppyWritesAreNotHeldToStrictQuorums(t *testing.T) {
	s := newStory(t)
	s.w.plan.Strict = false
	o, set, dot := s.put(version.Siblings{}, nil)
	o.strict = false // whatever the client has drawn
	s.acked(o, dot)
	s.w.checkKey(s.layout, s.k, copies(set))
	s.expect()
}

// hintRecord is a stored hint of the story's key for n2.
func (s *story) hintRecord(set version.Siblings) []byte {
	s.t.Helper()
	store := coretest.NewStore()
	r := replica.New(replica.Config{Self: "n1", Start: 1, Shards: 1, MaxHintBytes: 1 << 20}, store)
	var out core.Out
	r.OpenHints(1, &out)
	if _, why := r.Hint(core.Now{}, &core.Hint{Key: s.k.key, Set: set, Owner: "n2"}, false, &out); why != 0 {
		s.t.Fatal(why)
	}
	return out.Writes[0].Value
}

func TestHintsAreHeldToTheDisksOfTheirOwners(t *testing.T) {
	for name, held := range map[string]bool{"settled": true, "lost": false} {
		s := newStory(t)
		_, set, _ := s.put(version.Siblings{}, nil)
		n1, n2 := s.w.nodes[0], s.w.nodes[1]
		l := &loop{view: &core.View{Layouts: core.LayoutState{Live: []*ring.Layout{s.layout}, Phase: core.PhaseDone}}}
		s.w.hintWritten(n1, l, s.k, s.hintRecord(set))
		if held {
			n2.hints.ever[0] = set.Clock
		}
		s.w.hintWritten(n1, l, s.k, nil)
		if held {
			s.expect()
		} else {
			s.expect("hints")
		}
		if got := s.w.report.Stats.Hints; got.Taken != 1 || got.Settled != 1 {
			t.Errorf("%s: counted %+v", name, got)
		}
	}
}

func TestHintsCountAsHolders(t *testing.T) {
	s := newStory(t)
	_, set, dot := s.put(version.Siblings{}, nil)
	s.w.nodes[0].durable[0] = set
	s.w.nodes[1].hints.durable[0] = set
	if n := s.w.durableAt(s.k, dot); n != 2 {
		t.Errorf("%d nodes hold it; one has it as an owner, one as a hint", n)
	}
}

func TestTalliesAreRecounted(t *testing.T) {
	s := newStory(t)
	_, set, _ := s.put(version.Siblings{}, nil)
	if _, err := s.w.nodes[0].disk.Append([]core.Write{{Key: core.HintKey(s.k.key), Value: s.hintRecord(set)}}); err != nil {
		t.Fatal(err)
	}
	s.w.checkTallies()
	s.expect("hints")
}

// Where hints alone had to do it, owners that differ are a violation.
func TestOwnersMustBeEqualByHintsAlone(t *testing.T) {
	s := newStory(t)
	s.w.plan.Still = true
	_, set, _ := s.put(version.Siblings{}, nil)
	_, newer, _ := s.put(set, nil)
	s.w.checkEqual(s.layout, s.k, copies(newer, newer, newer))
	s.expect()
	s.w.checkEqual(s.layout, s.k, copies(newer, set, newer))
	s.expect("convergence")
	s.w.report.Violations = nil
	s.w.checkEqual(s.layout, s.k, copies(newer, newer))
	s.expect("convergence")
}

// A read that misses what a blocking read before it has returned is found, but
// for what has been forgotten since.
func TestReadsThatGoBackAreFound(t *testing.T) {
	for name, forgotten := range map[string]bool{"goes back": false, "forgotten": true} {
		s := newStory(t)
		w, h := s.w, s.w.history
		w.newest = s.view().Layouts.Stamp()
		for _, p := range w.nodes {
			p.exists, p.joined, p.stamp, p.shards = true, true, w.newest, []*loop{{view: s.view()}}
		}
		get := func() *operation {
			o := w.clients[0].get(w, s.k)
			o.r, o.options.Repair = 2, core.RepairBlocking
			h.mustNotGoBack(o)
			return o
		}
		_, set, _ := s.put(version.Siblings{}, nil)
		stone := s.bury(set)
		h.gotten(get(), &core.Result{Code: core.CodeNotFound, Set: stone, Context: stone.Clock})
		if forgotten {
			h.forget(s.k, stone)
		}
		h.gotten(get(), &core.Result{Code: core.CodeNotFound})
		if forgotten {
			s.expect()
		} else {
			s.expect("monotonic reads")
		}
		if n := w.report.Stats.Repairs.Checked; n != 1 {
			t.Errorf("%s: %d reads are held to what the one before has found", name, n)
		}
	}
}
