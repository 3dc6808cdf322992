package sim

import (
	"fmt"
	"io"
	"maps"
	"math/bits"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/audit"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// world is one run: everything that there is, stepped by one goroutine.
type world struct {
	plan   *Plan
	now    time.Duration
	queue  eventQueue
	rng    *rand.Rand
	nodes  []*process
	net    network
	trace  *tracer
	report *Report
	// violated counts violations by checker; looked up by key only.
	violated map[string]int
	halted   bool // what went wrong leaves nothing to go on with

	started int            // nodes so far
	cluster uint64         // of the first node: the others join it
	newest  core.Stamp     // that any node has gone by
	live    []*ring.Layout // of newest
	grows   bool           // layouts change while clients work
	mover   int            // the node that may change its address

	armed    []int             // faults that wait for their triggers, by index
	skewed   bool              // a wall clock has jumped far ahead
	struck   []bool            // by index of the fault
	active   []int             // faults that have begun and not healed, by index
	troubled time.Duration     // when something went wrong or healed last
	skews    int               // so far
	healing  bool              // no fault begins any more
	copies   map[int]*diskCopy // that faults will put back, by index; looked up by key only
	losses   int               // of disks so far, and ends of what they brought about
	healedAt time.Duration

	clients   []*client
	burst     Burst // the latest
	clientRng *rand.Rand
	attempts  []*attempt
	oldest    int // every attempt before this one is over
	history   *history
	finals    map[int]audit.Set // what the last gets showed, by key; looked up by key only
}

// Run runs a plan to its end and checks it. text, if not nil, gets the trace
// for people to read. The same plan gives the same report.
func Run(plan *Plan, text io.Writer) *Report {
	w := newWorld(plan, text)
	w.run()
	r := w.report
	r.TraceHash, r.Steps = w.trace.digest.Sum64(), w.trace.steps
	w.tally()
	if err := w.trace.flush(); err != nil {
		w.fail("trace", "the trace cannot be written: %v", err)
	}
	return r
}

func newWorld(plan *Plan, text io.Writer) *world {
	w := &world{
		plan: plan, report: &Report{Plan: plan}, trace: newTracer(text),
		queue: eventQueue{seed: plan.Seed}, net: newNetwork(plan),
		rng: core.Stream(plan.Seed, "sim/world"), clientRng: core.Stream(plan.Seed, "sim/replies"),
		clients: newClients(plan), finals: make(map[int]audit.Set), copies: make(map[int]*diskCopy),
		struck: make([]bool, len(plan.Faults)),
		grows:  plan.Early || plan.Nodes > plan.Initial,
	}
	w.history = newHistory(w, plan.Keys)
	w.mover = w.rng.IntN(2*plan.Nodes) + 1 // often nobody, and never the first
	for i := range plan.Nodes {
		p := &process{index: i, id: nodeID(i), disk: NewDisk(), instance: w.rng.Uint64(), downBy: -1}
		p.addr, p.weight = address(p), plan.Weights[i]
		w.nodes = append(w.nodes, p)
	}
	return w
}

// address returns where a process listens.
func address(p *process) string { return fmt.Sprintf("%s:%d", p.id, 7171+p.port) }

// shardOf returns the shard that a client's request belongs to.
func (w *world) shardOf(p *process, key []byte) int {
	return int(w.partitionOf(ring.Hash(key))) % len(p.shards)
}

// partitionBits returns how many bits of a position are its partition.
func partitionBits(partitions int) int { return bits.Len(uint(partitions)) - 1 }

// run lets everything happen. A panic of a machine is a violation like any
// other.
func (w *world) run() {
	defer func() {
		if v := recover(); v != nil {
			w.fail("panic", "%v\n%s", v, debug.Stack())
		}
	}()
	w.setNetwork()
	w.grow()
	for !w.plan.Early && w.started < w.plan.Initial {
		w.grow()
	}
	for i, f := range w.plan.Faults {
		w.queue.push(event{at: w.plan.Warmup + f.At, kind: evFault, n: int64(i)})
		if f.Kind == Restore {
			w.queue.push(event{at: w.plan.Warmup + f.At - f.By, kind: evCopy, n: int64(i)})
		}
	}
	for i, b := range w.plan.Bursts {
		w.queue.push(event{at: w.plan.Warmup + b.At, kind: evBurst, n: int64(i)})
	}
	w.until(w.plan.Warmup + w.plan.Length)
	if w.halted {
		return
	}
	w.heal()
	w.rest()
	if w.halted {
		return
	}
	w.converge()
	if w.halted {
		return
	}
	w.checkHinted()
	w.readAll()
	w.checkEnd() // before anything is written again that could hide what is wrong
	if w.halted {
		return
	}
	w.forgetAll()
	w.converge() // forgetting leaves owners equal, too
	w.readAll()
	w.checkEnd()
}

// until handles the events up to a time.
func (w *world) until(end time.Duration) {
	for !w.queue.empty() && w.queue.heap[0].at <= end && !w.halted {
		e := w.queue.pop()
		w.now = e.at
		w.handle(&e)
	}
	w.now = max(w.now, end)
}

func (w *world) handle(e *event) {
	switch e.kind {
	case evFault:
		w.beginFault(int(e.n))
		return
	case evCopy:
		w.copyDisk(int(e.n))
		return
	case evStrike:
		w.strike(int(e.n))
		return
	case evHeal:
		w.healFault(int(e.n))
		return
	case evBurst:
		w.busy(w.plan.Bursts[e.n])
		return
	case evClient:
		w.act(w.clients[e.node])
		return
	case evReply:
		w.finish(w.attempts[e.n], e.result)
		return
	case evExpire:
		w.expire(e.n)
		return
	case evArrive, evRequest, evJoin, evDrain, evTimer, evRefused, evFsync:
	}
	p := w.nodes[e.node]
	switch e.kind {
	case evArrive:
		w.arrived(p, e.env)
	case evRequest:
		w.request(p, e.n)
	case evJoin:
		w.callJoin(p)
	case evDrain, evTimer, evRefused, evFsync:
		if p.up && p.gen == e.gen {
			w.handleOwn(p, e)
		}
	case evCopy, evFault, evStrike, evHeal, evBurst, evClient, evReply, evExpire:
	}
}

// handleOwn handles an event of a process that is still the same.
func (w *world) handleOwn(p *process, e *event) {
	switch e.kind {
	case evDrain:
		w.drain(p, p.loop(int(e.loop)))
	case evTimer:
		l := p.loop(int(e.loop))
		if l.timer == e.at {
			l.timer = core.Never
			w.schedule(p, l)
		}
	case evRefused:
		w.input(p, senderOf(e.env, len(p.shards)), input{kind: inSendFailed, env: e.env})
	case evFsync:
		w.synced(p, uint64(e.n))
	case evArrive, evRequest, evJoin, evCopy, evFault, evStrike, evHeal, evBurst, evClient, evReply, evExpire:
	}
}

// senderOf returns the loop that a request came from.
func senderOf(e *core.Envelope, shards int) int {
	if e.Req.Machine() == core.MachineMembership || e.Req.Shard() >= shards {
		return controlLoop
	}
	return e.Req.Shard()
}

// settleBound is how long a healed cluster may take to come to rest. It is
// derived from what it waits for: the oldest message still under way, a round
// with a seed to find each other again, and for each node that still joins
// the debounce of the last in line and the rounds that spread three phases.
func (w *world) settleBound() time.Duration {
	p := w.plan
	joins := time.Duration(p.Nodes)
	return maxTransit + hintBound + w.circuitBound() + 20*p.Gossip + joins*(2*joinTimeout+time.Duration(p.Nodes+1)*p.Layout+10*p.Gossip)
}

// lateBound is how long after the healing a write may still be executed: the
// oldest message may still be a forward, whose replicas then hear of it.
func (w *world) lateBound() time.Duration { return maxTransit + 2*longestRequest }

// rest waits until the cluster has come to rest, at most the bound, and until
// nothing is on its way that could change a key.
func (w *world) rest() {
	rested := false
	for end := w.now + w.settleBound(); w.now < end && !rested && !w.halted; {
		w.until(w.now + time.Second)
		rested = w.unrest() == "" && w.idle()
	}
	w.report.Stats.Rest = w.now - w.healedAt
	w.converge()
	w.until(w.healedAt + w.lateBound())
}

// idle says that no client waits for anything.
func (w *world) idle() bool {
	for _, c := range w.clients {
		if c.outstanding > 0 {
			return false
		}
	}
	return true
}

// readAll gets every key from all of its owners through the front door.
func (w *world) readAll() {
	c := w.clients[0]
	replicas := min(w.plan.N, w.started)
	for _, k := range w.history.keys {
		o := &operation{client: c, key: k, op: core.OpGet, timeout: w.plan.Request, final: true, r: replicas}
		o.options.R = replicas
		w.begin(o)
	}
	w.until(w.now + w.plan.Request + time.Second)
}

// tally adds up what the parts have counted.
func (w *world) tally() {
	s := &w.report.Stats
	s.Runs, s.Virtual, s.Steps = 1, w.plan.Length, w.trace.steps
	s.Network = w.net.stats
	for _, p := range w.nodes {
		s.Disk.add(&p.disk.stats)
		w.tallyTrees(p)
		w.tallyRepairs(p)
		if p.joined {
			s.Joined++
		}
	}
	for _, k := range w.history.keys {
		s.Minted += uint64(len(k.mints))
	}
	for _, wr := range w.history.writes {
		if len(wr.mints) > 1 {
			s.MintedTwice++
		}
	}
}

// narrate writes a step's input for people to read.
func (w *world) narrate(p *process, l *loop, in *input) {
	if w.trace.text == nil {
		return
	}
	loop := "control"
	if l.index != controlLoop {
		loop = fmt.Sprintf("shard %d", l.index)
	}
	what := ""
	switch in.kind {
	case inDeliver, inSendFailed:
		what = explain(in.env)
	case inSubmit:
		r := in.req
		what = fmt.Sprintf("%v %s req %d context %v overwrite %v R=%d W=%d id %v blocking %v",
			r.Op, r.Key, uint64(r.Req), r.Context, r.Options.Overwrite, r.Options.R, r.Options.W, r.Options.WriteID, r.Options.Repair == core.RepairBlocking)
	case inDurable:
		what = fmt.Sprint(in.flush)
	case inView:
		what = fmt.Sprintf("%v %v", in.view.Stamp(), in.view.Budgets)
		if in.view.Room != nil {
			what += fmt.Sprintf(" %+v", *in.view.Room)
		}
	case inReport:
		what = fmt.Sprintf("%+v", in.report)
	case inShard:
		what = fmt.Sprintf("%+v", in.shard)
	case inLoad:
		what = fmt.Sprintf("%+v", in.load)
	case inRoom:
		what = fmt.Sprintf("%+v", in.room)
	case inTick, inBegin, inJoin:
	}
	w.trace.printf(w.now, "%v %s %v %s", p.id, loop, in.kind, what)
}

func sortedKeys(m map[string]uint64) []string { return slices.Sorted(maps.Keys(m)) }
