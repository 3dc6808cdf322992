package handoff

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/core/coretest"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/replica"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// bench is one node's handoff over its replica, among peers that the test
// plays.
type bench struct {
	*Handoff
	t       *testing.T
	replica *replica.Replica
	store   *coretest.Store
	now     core.Now
	out     core.Out
	sent    []core.Envelope
	reports []core.ShardReport
}

func newBench(t *testing.T, self id.Node) *bench {
	b := &bench{t: t, store: coretest.NewStore(), now: core.Now{Mono: time.Second}}
	b.replica = replica.New(replica.Config{Self: self, Start: 1, Shard: 0, Shards: 1}, b.store)
	b.Handoff = New(Config{Self: self, Shard: 0, Shards: 1, W: 2, Seed: 1}, b.replica, new(admission.Gate))
	return b
}

func members(names ...id.Node) []ring.Member {
	var all []ring.Member
	for _, n := range names {
		all = append(all, ring.Member{ID: n, Weight: 1})
	}
	return all
}

// layouts returns one of a, b, c and the next, in which d has joined.
func layouts(t *testing.T) (old, next *ring.Layout) {
	t.Helper()
	old, err := ring.Form(8, 3, members("a", "b", "c"))
	if err != nil {
		t.Fatal(err)
	}
	next, err = old.Plan(2, members("a", "b", "c", "d"), 3)
	if err != nil {
		t.Fatal(err)
	}
	return old, next
}

func (b *bench) view(phase core.Phase, live ...*ring.Layout) {
	b.SetView(b.now, &core.View{Self: b.config.Self, Cluster: 1, Layouts: core.LayoutState{Live: live, Phase: phase}}, &b.out)
	b.collect()
}

// collect makes all effects happen: what is written is durable at once.
func (b *bench) collect() {
	for len(b.out.Writes)+len(b.out.Sends)+len(b.out.Shards) > 0 {
		b.sent = append(b.sent, b.out.Sends...)
		b.reports = append(b.reports, b.out.Shards...)
		n := b.replica.Flush()
		b.store.Commit(b.out.Writes)
		b.out.Reset()
		b.replica.Durable(n)
		b.Durable(b.now, n, &b.out)
	}
}

func (b *bench) tick(d time.Duration) {
	b.now.Mono += d
	b.Tick(b.now, &b.out)
	b.collect()
}

// answerAll answers what was sent, and what that leads to, by f.
func (b *bench) answerAll(f func(e core.Envelope) core.Message) {
	for len(b.sent) > 0 {
		e := b.sent[0]
		b.sent = b.sent[1:]
		if m := f(e); m != nil {
			b.Deliver(b.now, &core.Envelope{From: e.To, To: e.From, Req: e.Req, Reply: true, Msg: m}, &b.out)
			b.collect()
		}
	}
}

func (b *bench) last() core.ShardReport {
	b.t.Helper()
	if len(b.reports) == 0 {
		b.t.Fatal("no report")
	}
	return b.reports[len(b.reports)-1]
}

// keysIn returns keys of a partition.
func keysIn(l *ring.Layout, p ring.Partition, n int) [][]byte {
	var keys [][]byte
	for i := 0; len(keys) < n; i++ {
		if k := fmt.Appendf(nil, "key-%d", i); l.Partition(k) == p {
			keys = append(keys, k)
		}
	}
	return keys
}

func setOf(node id.Node, value string) version.Siblings {
	set, _ := version.Siblings{}.Put(version.Clock{}, version.Actor{Node: node, Epoch: version.Epoch{Start: 9, Seq: 1}},
		version.Write{ID: version.WriteID{1}, Data: []byte(value)})
	return set
}

// gained returns a partition that d gains.
func gained(t *testing.T, next *ring.Layout) ring.Partition {
	t.Helper()
	for p := range ring.Partition(8) {
		if next.Owns("d", p) {
			return p
		}
	}
	t.Fatal("d gains nothing")
	return 0
}

// Scenario read-gap-pull: one old owner may have missed an acknowledged write,
// so a new owner pulls from N−W+1.
func TestNewOwnerPullsFromEnoughOldOwners(t *testing.T) {
	if bad := readGapPull(t); bad != "" {
		t.Error(bad)
	}
}

// readGapPull plays the scenario read-gap-pull and says how it ends badly: one
// old owner had missed an acknowledged write.
func readGapPull(t *testing.T) string {
	t.Helper()
	old, next := layouts(t)
	b := newBench(t, "d")
	b.view(core.PhaseCopy, old, next)
	if r := b.last(); r.Pulls == 0 || r.PullsLeft != r.Pulls || !r.Synced.IsZero() {
		t.Fatalf("before any pull: %+v", r)
	}
	p := gained(t, next)
	key := keysIn(old, p, 1)[0]
	sources := map[ring.Partition][]id.Node{}
	first := id.Node("")
	b.answerAll(func(e core.Envelope) core.Message {
		if !slices.Contains(sources[e.Partition], e.To) {
			sources[e.Partition] = append(sources[e.Partition], e.To)
		}
		reply := &core.PullReply{Done: true}
		if e.Partition == p && first == "" {
			first = e.To // it missed the write; the second one has it
		} else if e.Partition == p && e.To != first {
			reply.Items = []core.Item{{Key: key, Set: setOf("a", "v")}}
		}
		return reply
	})
	for partition, from := range sources {
		if len(from) != 2 {
			return fmt.Sprintf("partition %d was pulled from %v, want N−W+1 = 2 owners", partition, from)
		}
	}
	if set, _ := b.replica.Read(key, &b.out); len(set.Versions) != 1 {
		return "the acknowledged write is missing"
	}
	if r := b.last(); r.PullsLeft != 0 || r.Synced != next.Name() {
		return fmt.Sprintf("at the end: %+v", r)
	}
	return ""
}

// A chunk with another partition's key is not taken: the key may belong to
// another shard, which alone writes it.
func TestPulledKeysAreOfThePartition(t *testing.T) {
	old, next := layouts(t)
	b := newBench(t, "d")
	b.view(core.PhaseCopy, old, next)
	p, owners := gained(t, next), old.Owners(gained(t, next))
	foreign := keysIn(old, (p+1)%8, 1)[0]
	b.answerAll(func(e core.Envelope) core.Message {
		if e.Partition != p || !slices.Contains(owners, e.To) {
			return nil
		}
		return &core.PullReply{Items: []core.Item{{Key: foreign, Set: setOf("a", "v")}}, Done: true}
	})
	if n := b.store.Len(); n != 0 {
		t.Errorf("%d keys of another partition were stored", n)
	}
	if r := b.last(); r.PullsLeft != r.Pulls {
		t.Errorf("a strange chunk counts as a pull: %+v", r)
	}
}

func TestPullGoesOnAfterRefusalsFailuresAndSilence(t *testing.T) {
	old, next := layouts(t)
	b := newBench(t, "d")
	b.view(core.PhaseCopy, old, next)
	b.answerAll(func(core.Envelope) core.Message { return &core.Refused{Why: core.RefusedBehind} })
	b.tick(retryPause)
	for _, e := range b.sent {
		b.SendFailed(b.now, &e, &b.out)
	}
	b.sent = nil
	b.collect()
	b.tick(retryPause)
	b.sent = nil // nobody answers
	b.tick(chunkTimeout)
	b.tick(retryPause)
	if b.last().PullsLeft == 0 {
		t.Fatal("synced without an answer")
	}
	b.answerAll(func(core.Envelope) core.Message { return &core.PullReply{Done: true} })
	if r := b.last(); r.Synced != next.Name() {
		t.Errorf("at the end: %+v", r)
	}
}

// source plays an old owner that has these keys of a partition, in chunks of two.
func source(keys [][]byte, after []byte) *core.PullReply {
	sorted := slices.SortedFunc(slices.Values(keys), func(a, b []byte) int { return bytes.Compare(core.DataKey(a), core.DataKey(b)) })
	from := 0
	if after != nil {
		from = slices.IndexFunc(sorted, func(k []byte) bool { return bytes.Equal(k, after) }) + 1
	}
	to := min(from+2, len(sorted))
	reply := &core.PullReply{Done: to == len(sorted)}
	for _, k := range sorted[from:to] {
		reply.Items = append(reply.Items, core.Item{Key: k, Set: setOf("a", "v")})
	}
	return reply
}

// A partition that takes several chunks is pulled to its end from each source,
// whatever is lost on the way: another source begins at the start, and a chunk of
// the same source that comes late goes on where it ends.
func TestPullsTakeWholePartitions(t *testing.T) {
	old, next := layouts(t)
	b := newBench(t, "d")
	b.view(core.PhaseCopy, old, next)
	p := gained(t, next)
	keys := keysIn(old, p, 7)
	var late *core.Envelope // the answer that is lost, and comes much later
	came := false
	asked := map[id.Node][]string{}
	answer := func(e core.Envelope) core.Message {
		m := e.Msg.(*core.Pull)
		if e.Partition != p {
			return &core.PullReply{Done: true}
		}
		asked[e.To] = append(asked[e.To], string(m.After))
		reply := source(keys, m.After)
		if m.After != nil && late == nil {
			late = &core.Envelope{From: e.To, To: e.From, Req: e.Req, Reply: true, Msg: reply}
			return nil
		}
		if late != nil && e.To != late.From && len(asked[e.To]) == 1 {
			return &core.Refused{Why: core.RefusedBehind} // so that the first source is asked again
		}
		return reply
	}
	b.answerAll(answer)
	if late == nil || b.store.Len() != 2 || len(b.pulls) != 1 {
		t.Fatalf("%d keys after the first chunk, %d pulls", b.store.Len(), len(b.pulls))
	}
	b.tick(chunkTimeout)
	for step := 0; len(b.pulls) > 0 && step < 20; step++ {
		b.tick(retryPause)
		if len(b.sent) > 0 && b.sent[0].To == late.From && b.sent[0].Msg.(*core.Pull).After == nil {
			b.sent, came = nil, true
			b.Deliver(b.now, late, &b.out)
			b.collect()
			if len(b.sent) != 1 || len(b.sent[0].Msg.(*core.Pull).After) == 0 {
				t.Fatalf("after the late chunk it asks %v", b.sent)
			}
		}
		b.answerAll(answer)
	}
	if r := b.last(); !came || r.Synced != next.Name() || b.store.Len() != len(keys) {
		t.Errorf("late chunk taken: %v; %d of %d keys: %+v, asked %q", came, b.store.Len(), len(keys), r, asked)
	}
}

// A chunk that is not durable here yet has no successor: a crash would leave a
// hole before it.
func TestNextChunkWaitsForTheDisk(t *testing.T) {
	old, next := layouts(t)
	b := newBench(t, "d")
	b.view(core.PhaseCopy, old, next)
	p := gained(t, next)
	i := slices.IndexFunc(b.sent, func(e core.Envelope) bool { return e.Partition == p })
	asked := b.sent[i]
	b.sent = nil
	b.Deliver(b.now, &core.Envelope{From: asked.To, Req: asked.Req, Reply: true, Msg: source(keysIn(old, p, 3), nil)}, &b.out)
	if len(b.out.Sends) != 0 {
		t.Fatalf("the next chunk is asked for while the last one is not durable")
	}
	b.collect()
	if len(b.sent) != 1 || b.sent[0].Partition != p || b.sent[0].Msg.(*core.Pull).After == nil {
		t.Errorf("when it is, this is sent: %+v", b.sent)
	}
}

func TestServeSendsChunksAfterAdoption(t *testing.T) {
	old, next := layouts(t)
	b := newBench(t, "a")
	p := ring.Partition(0)
	keys := keysIn(old, p, 2*chunkKeys+3)
	for _, k := range keys {
		b.replica.Apply(k, setOf("a", "v"), &b.out)
	}
	b.view(core.PhaseDone, old)
	ask := func(after []byte) core.Message {
		b.Serve(b.now, &core.Envelope{From: "d", Partition: p, Msg: &core.Pull{Layout: next.Name(), After: after}}, &b.out)
		sent := b.out.Sends[len(b.out.Sends)-1]
		b.out.Reset()
		return sent.Msg
	}
	if m, ok := ask(nil).(*core.Refused); !ok || m.Why != core.RefusedBehind {
		t.Fatal("served before it adopted the layout")
	}
	b.view(core.PhaseCopy, old, next)
	got, chunks := 0, 0
	var after []byte
	for done := false; !done; chunks++ {
		m := ask(after).(*core.PullReply)
		got += len(m.Items)
		done = m.Done
		if len(m.Items) > 0 {
			after = m.Items[len(m.Items)-1].Key
		}
	}
	if got != len(keys) || chunks < 3 {
		t.Errorf("%d keys in %d chunks, want %d in 3", got, chunks, len(keys))
	}
}

// Scenario two-layouts-six: what this node does not own is pushed until every
// owner has acknowledged it, and only then removed.
func TestLeftoversArePushedUntilAcknowledged(t *testing.T) {
	old, _ := layouts(t)
	b := newBench(t, "d")
	p := ring.Partition(3)
	keys := keysIn(old, p, pushWindow+5)
	for _, k := range keys {
		b.replica.Apply(k, setOf("d", "left over"), &b.out)
	}
	b.collect()
	b.view(core.PhaseDone, old)
	if r := b.last(); r.Leftovers != 1 {
		t.Fatalf("%+v", r)
	}
	silent := true
	b.answerAll(func(e core.Envelope) core.Message {
		if silent && e.To == "c" {
			return nil
		}
		return &core.Applied{}
	})
	if b.store.Len() != len(keys) {
		t.Fatalf("%d of %d keys left though c has none of them", b.store.Len(), len(keys))
	}
	silent = false
	for range 4 {
		b.tick(chunkTimeout)
		b.answerAll(func(core.Envelope) core.Message { return &core.Applied{} })
	}
	if b.store.Len() != 0 || b.last().Leftovers != 0 {
		t.Errorf("%d keys stay: %+v", b.store.Len(), b.last())
	}
}

func TestLeftoverThatChangesIsPushedAgain(t *testing.T) {
	old, _ := layouts(t)
	b := newBench(t, "d")
	key := keysIn(old, 3, 1)[0]
	b.replica.Apply(key, setOf("d", "1"), &b.out)
	b.collect()
	b.view(core.PhaseDone, old)
	changed := false
	pushed := map[int]bool{}
	answer := func(e core.Envelope) core.Message {
		if !changed {
			changed = true
			b.replica.Apply(key, setOf("e", "2"), &b.out)
			b.Stored(3)
			b.collect()
		}
		pushed[len(e.Msg.(*core.Apply).Set.Versions)] = true
		return &core.Applied{}
	}
	b.answerAll(answer)
	if b.store.Len() != 1 {
		t.Fatal("removed with a version that nobody has acknowledged")
	}
	for range 4 {
		b.tick(retryPause)
		b.answerAll(answer)
	}
	if b.store.Len() != 0 || !pushed[2] {
		t.Errorf("%d keys stay, pushed sets of %v versions", b.store.Len(), pushed)
	}
}

// A late copy of a write brings a leftover back that has been pushed and
// removed, while others of its partition are still on their way (seed 1177).
func TestLeftoverThatComesBackIsPushedAgain(t *testing.T) {
	old, _ := layouts(t)
	b := newBench(t, "d")
	keys := keysIn(old, 3, 2)
	for _, key := range keys {
		b.replica.Apply(key, setOf("d", "1"), &b.out)
	}
	b.collect()
	b.view(core.PhaseDone, old)
	first := keys[0]
	b.answerAll(func(e core.Envelope) core.Message {
		if !bytes.Equal(e.Msg.(*core.Apply).Key, first) {
			return nil
		}
		return &core.Applied{}
	})
	if b.store.Len() != 1 {
		t.Fatalf("%d keys are left, want the one that nobody has acknowledged", b.store.Len())
	}
	b.replica.Apply(first, setOf("d", "1"), &b.out)
	b.Stored(3)
	b.collect()
	for range 4 {
		b.tick(chunkTimeout)
		b.answerAll(func(core.Envelope) core.Message { return &core.Applied{} })
	}
	if b.store.Len() != 0 || b.last().Leftovers != 0 {
		t.Errorf("%d keys stay: %+v", b.store.Len(), b.last())
	}
}

// A push that is refused, or provably never leaves, is repeated after a pause;
// what is no answer to it ends nothing.
func TestPushesAreRepeated(t *testing.T) {
	old, _ := layouts(t)
	b := newBench(t, "d")
	key := keysIn(old, 3, 1)[0]
	b.replica.Apply(key, setOf("d", "left over"), &b.out)
	b.collect()
	b.view(core.PhaseDone, old)
	newer := core.Stamp{Layout: ring.Name{Number: 9}}
	sent := b.sent
	b.sent = nil
	for i, e := range sent {
		reply := core.Envelope{From: e.To, To: "d", Req: e.Req, Reply: true}
		switch i {
		case 0:
			reply.Msg, reply.Stamp = &core.Refused{Why: core.RefusedBehind}, newer
			b.Deliver(b.now, &reply, &b.out)
			if r := b.out.Reports; len(r) != 1 || r[0].Ahead != newer {
				t.Errorf("a refusal with a newer stamp is told as %+v", r)
			}
		case 1:
			b.SendFailed(b.now, &e, &b.out)
			b.SendFailed(b.now, &e, &b.out) // of an earlier try
		default:
			for _, m := range []core.Message{&core.Hinted{}, &core.Applied{}, &core.Refused{}} { // once is enough
				reply.Msg = m
				b.Deliver(b.now, &reply, &b.out)
			}
			reply.From = "stranger"
			b.Deliver(b.now, &reply, &b.out)
		}
	}
	b.collect()
	if b.store.Len() != 1 {
		t.Fatal("the key is gone though one owner has refused it and another was not reached")
	}
	b.tick(retryPause)
	if len(b.sent) != 2 || b.sent[0].To == sent[2].To || b.sent[1].To == sent[2].To {
		t.Fatalf("%d pushes are repeated; want those to %s and %s", len(b.sent), sent[0].To, sent[1].To)
	}
	b.answerAll(func(core.Envelope) core.Message { return &core.Applied{} })
	if b.store.Len() != 0 || b.last().Leftovers != 0 {
		t.Errorf("%d keys stay: %+v", b.store.Len(), b.last())
	}
	b.SendFailed(b.now, &sent[1], &b.out) // long dealt with
	if r := b.out.Reports; len(r) == 0 || r[len(r)-1].Peer != sent[1].To || r[len(r)-1].Failed != 1 {
		t.Errorf("a message of an earlier window that failed is told as %+v", r)
	}
}

// TestGenerationsWrap: a request ID has fewer bits for the generation than its
// counter has, and after the last of them the next one is current as well.
func TestGenerationsWrap(t *testing.T) {
	b := newBench(t, "d")
	for _, slot := range []uint32{0, pushSlots, hintSlots} {
		for _, generation := range []uint32{7, 1<<28 - 1, 1 << 28, 1<<32 - 1} {
			b.generation, b.pushes.generation, b.hints.generation = generation, generation, generation
			if !b.isCurrent(b.reqID(slot, generation)) {
				t.Errorf("slot %d: a request of generation %d is not current", slot, generation)
			}
			if b.isCurrent(b.reqID(slot, generation-1)) {
				t.Errorf("slot %d: a request of the generation before %d is current", slot, generation)
			}
		}
	}
}
