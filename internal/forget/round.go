package forget

import (
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/guard"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

const (
	// answerTimeout is how long a member may take to answer: it reads up to
	// MaxForgetKeys keys from a slow disk under load.
	answerTimeout = 3 * time.Second

	// maxAttempts bounds how often a member is asked in one step, and
	// retryPause is the time until it is asked again after it has refused or
	// could not be reached: time for the news of a restart to get around. One
	// that is known to block is asked once.
	maxAttempts = 5
	retryPause  = time.Second

	// lastsTTLs is for how many TTLs a round goes on trying after its first
	// step, and tokens are kept.
	lastsTTLs = 2
)

// step is what a round has come to.
type step uint8

const (
	confirming step = iota // for the first time: tokens are taken
	standing               // again: the tokens stand
	removing               // the owners are told to forget
)

// round is one batch of keys of a partition on its way to being forgotten.
type round struct {
	partition ring.Partition
	number    uint64
	step      step
	keys      []core.KeyDigest
	lost      []bool // by key: somebody does not confirm it
	asked     []ask
	dueAt     time.Duration // of a round that waits: when its next step begins
	giveUp    time.Duration
}

// ask is one member that has to answer the step.
type ask struct {
	node     id.Node
	answered bool
	attempts int
	call     guard.Call
	flying   bool          // asked, and no answer yet
	due      time.Duration // when it is asked again, or given up
}

// due returns when the active round has something to do.
func (r *round) due() time.Duration {
	at := core.Never
	for i := range r.asked {
		if !r.asked[i].answered {
			at = min(at, r.asked[i].due)
		}
	}
	return at
}

// flying says that somebody has been asked and has not answered yet.
func (r *round) flying() bool {
	return slices.ContainsFunc(r.asked, func(a ask) bool { return a.flying && !a.answered })
}

func (r *round) bytes() int {
	n := roundOverhead
	for i := range r.keys {
		n += len(r.keys[i].Key) + keyOverhead
	}
	return n
}

// lose notes the keys that somebody does not confirm.
func (r *round) lose(except []uint32) {
	for _, i := range except {
		if int(i) < len(r.lost) {
			r.lost[i] = true
		}
	}
}

// beginFirst begins a new round.
func (f *Forget) beginFirst(now core.Now, p ring.Partition, keys []core.KeyDigest, out *core.Out) {
	f.number++
	r := &round{partition: p, number: f.number, keys: keys}
	f.rounds[r.number] = r
	f.waitingBytes += r.bytes()
	f.begin(now, r, confirming, out)
}

// begin takes a step of a round: at this node at once, then at the others.
func (f *Forget) begin(now core.Now, r *round, s step, out *core.Out) {
	f.active = r
	f.generation++
	r.step = s
	r.lost = make([]bool, len(r.keys))
	switch s {
	case confirming, standing:
		r.lose(f.confirm(now, r.partition, r.number, s == standing, r.keys, out))
		f.keep(r)
	case removing: // keys that are gone here may still be owed elsewhere
		f.forget(r.partition, r.number, r.keys, out)
	}
	if out.Failed != nil {
		return
	}
	if len(r.keys) == 0 {
		f.end(r)
		return
	}
	r.asked = f.whom(r)
	for i := range r.asked {
		f.send(now, r, &r.asked[i], out)
	}
	f.settle(now, out)
}

// whom returns the members that have to answer a step.
func (f *Forget) whom(r *round) []ask {
	var all []ask
	for _, p := range f.view.Peers {
		owner := f.layout.Owns(p.ID, r.partition)
		if r.step == removing && !owner || !owner && bug.On(bug.ReapWithoutOthers) {
			continue
		}
		all = append(all, ask{node: p.ID})
	}
	return all
}

// keep drops the keys of a round that somebody does not confirm: this node's
// token for them goes, so that the next scan may take them up again.
func (f *Forget) keep(r *round) {
	f.waitingBytes -= r.bytes()
	kept := r.keys[:0:0]
	for i, k := range r.keys {
		if r.lost[i] {
			f.tokens.drop(ring.Hash(k.Key), r.number)
		} else {
			kept = append(kept, k)
		}
	}
	r.keys, r.lost = kept, make([]bool, len(kept))
	f.waitingBytes += r.bytes()
}

func (f *Forget) send(now core.Now, r *round, a *ask, out *core.Out) {
	a.attempts++
	if f.guard.Open(a.node) {
		a.flying, a.due = false, now.Mono+retryPause
		return
	}
	f.guard.Try(&a.call, a.node)
	a.flying, a.due = true, now.Mono+answerTimeout
	f.gate.Spend(now.Mono, &f.slot, admission.MessageCost+admission.ItemCost*len(r.keys))
	var m core.Message
	switch r.step {
	case confirming, standing:
		m = &core.Confirm{Round: r.number, Again: r.step == standing, Members: f.members, Keys: r.keys}
	case removing:
		m = &core.Forget{Round: r.number, Members: f.members, Keys: r.keys}
	}
	out.Sends = append(out.Sends, core.Envelope{
		From: f.config.Self, To: a.node, Cluster: f.view.Cluster, Start: f.config.Start,
		Req: f.request(), Partition: r.partition, Stamp: f.view.Stamp(), Deadline: a.due, Msg: m,
	})
}

// request names the step of the active round: there is one at a time.
func (f *Forget) request() core.ReqID {
	return core.NewReqID(f.config.Shard, core.MachineForget, 0, f.generation)
}

// repeat asks those again that are due.
func (f *Forget) repeat(now core.Now, out *core.Out) {
	r := f.active
	for i := range r.asked {
		a := &r.asked[i]
		if a.answered || a.due > now.Mono {
			continue
		}
		if a.flying {
			f.guard.Failed(&a.call, guard.Silent, out)
		}
		if a.attempts >= f.attempts(a.node) {
			f.block(now, a.node)
			if bug.On(bug.ReapWithoutSilent) {
				a.answered = true
				continue
			}
			f.putOff(now, r)
			return
		}
		f.send(now, r, a, out)
	}
	f.settle(now, out)
}

func (f *Forget) attempts(n id.Node) int {
	if f.blocks(n) {
		return 1
	}
	return maxAttempts
}

// Deliver takes a member's answer.
func (f *Forget) Deliver(now core.Now, e *core.Envelope, out *core.Out) {
	a := f.asked(e.Req, e.From)
	if a == nil {
		return
	}
	switch m := e.Msg.(type) {
	case *core.Confirmed:
		if f.active.step == removing {
			return
		}
		f.active.lose(m.Except)
	case *core.Forgotten:
		if f.active.step != removing {
			return
		}
	case *core.Refused:
		f.guard.Refused(&a.call)
		a.flying, a.due = false, now.Mono+retryPause
		if f.view.Stamp().Older(e.Stamp) {
			out.Reports = append(out.Reports, core.PeerReport{Peer: e.From, Ahead: e.Stamp})
		}
		f.arm(now)
		return
	default:
		return // not an answer to anything that is asked here
	}
	a.answered = true
	f.guard.Answered(now.Mono, &a.call, 0, out)
	f.unblock(a.node)
	f.settle(now, out)
	f.arm(now)
}

// SendFailed is told that a request provably never left.
func (f *Forget) SendFailed(now core.Now, e *core.Envelope, out *core.Out) {
	if e.Reply {
		return
	}
	a := f.asked(e.Req, e.To)
	if a == nil {
		out.Reports = append(out.Reports, core.PeerReport{Peer: e.To, Failed: 1})
		return
	}
	f.guard.Failed(&a.call, guard.Unsent, out)
	a.flying, a.due = false, now.Mono+retryPause
	f.arm(now)
}

// asked returns the member of the active round that still has to answer a
// request, nil where nobody waits for it any more.
func (f *Forget) asked(req core.ReqID, n id.Node) *ask {
	if f.active == nil || req != f.request() {
		return nil
	}
	i := slices.IndexFunc(f.active.asked, func(a ask) bool { return a.node == n && !a.answered })
	if i < 0 {
		return nil
	}
	return &f.active.asked[i]
}

// settle goes on when all have answered the active round's step.
func (f *Forget) settle(now core.Now, out *core.Out) {
	r := f.active
	if slices.ContainsFunc(r.asked, func(a ask) bool { return !a.answered }) {
		return
	}
	if r.step == removing {
		f.end(r)
		return
	}
	f.keep(r)
	switch {
	case len(r.keys) == 0:
		f.end(r)
	case r.step == standing || bug.On(bug.ReapEarly):
		f.begin(now, r, removing, out)
	default:
		r.giveUp = now.Mono + lastsTTLs*f.config.TTL
		due := now.Mono + f.config.TTL
		if bug.On(bug.SecondRoundAtOnce) {
			due = now.Mono
		}
		f.wait(r, standing, due)
	}
}

// wait puts the active round among those that wait.
func (f *Forget) wait(r *round, next step, due time.Duration) {
	f.active = nil
	r.step, r.asked, r.dueAt = next, nil, due
	at := len(f.waiting)
	for at > 0 && f.waiting[at-1].dueAt > due {
		at--
	}
	f.waiting = slices.Insert(f.waiting, at, r)
	f.progress.Waiting += len(r.keys)
}

// wake takes the first round out of those that wait.
func (f *Forget) wake() *round {
	r := f.waiting[0]
	f.waiting = f.waiting[1:]
	f.progress.Waiting -= len(r.keys)
	return r
}

// putOff lets the active round wait for a member that does not answer. Its
// first step is taken anew by the next scan; later ones are repeated, since
// that member's tokens stand if it is only out of reach.
func (f *Forget) putOff(now core.Now, r *round) {
	if due := now.Mono + min(f.config.Interval, f.config.TTL/2); r.step != confirming && due < r.giveUp {
		f.wait(r, r.step, due)
		return
	}
	f.progress.Cancelled++
	f.end(r)
}

// end lets go of the active round.
func (f *Forget) end(r *round) {
	f.active = nil
	f.release(r)
}

func (f *Forget) release(r *round) {
	f.waitingBytes -= r.bytes()
	delete(f.rounds, r.number)
	for _, k := range r.keys {
		f.tokens.drop(ring.Hash(k.Key), r.number)
	}
}

// cancelAll lets go of every round.
func (f *Forget) cancelAll() {
	if f.active != nil {
		f.waiting = append(f.waiting, f.active)
		f.active = nil
	}
	f.progress.Cancelled += uint64(len(f.waiting))
	for _, r := range f.waiting {
		f.release(r)
	}
	f.waiting, f.progress.Waiting = nil, 0
	f.generation++
}
