package sim

import (
	"fmt"
	"strconv"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/node"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// controlLoop is the index of Control's loop.
const controlLoop = -1

// process is a node: its disk, which lasts, and the process that runs on it,
// which crashes and is started again.
type process struct {
	index    int
	id       id.Node
	addr     string
	port     int
	weight   uint32
	disk     *Disk
	instance uint64
	exists   bool // it has been started once

	up   bool
	gen  uint32        // grows with each start and each end: events of an earlier one miss
	born time.Duration // Mono is counted from here
	skew time.Duration // of the wall clock
	view *core.View    // the newest of this process
	// beliefs are what it is made to think of others, by index; 0: nothing.
	beliefs [maxNodes]core.Status
	open    [maxNodes]time.Duration // since when its breakers have not been closed, by index; 0: they are
	ctl     *loop
	shards  []*loop

	stalledUntil time.Duration
	stalled      time.Duration // when the latest stall ended: deadlines meanwhile were missed
	slowDisk     time.Duration // most that an fsync takes longer
	syncing      bool
	unsynced     []unsynced         // oldest first
	durable      []version.Siblings // by key index: what the disk holds for good
	held         []version.Siblings // by key index: what this process has written last
	hints        hintBooks
	starts       int
	start        uint64 // the nonce of the latest
	joined       bool   // it has come to the cluster
	joinedAt     time.Duration
	stamp        core.Stamp // the newest that it has gone by, over all of its starts
	losses       lossBooks
	downBy       int // the fault that ended the process
	downSince    time.Duration
}

func (p *process) loop(index int) *loop {
	if index == controlLoop {
		return p.ctl
	}
	return p.shards[index]
}

// viewed notes a view that Control has published: the first node's cluster is
// the one, and every other node has joined when it shows that one.
func (w *world) viewed(p *process, v *core.View) {
	w.checkHealth(p, v)
	w.checkCircuits(p, v)
	w.checkOld(p)
	p.view = v
	if p.index == 0 && w.cluster == 0 {
		w.cluster = v.Cluster
	}
	if w.cluster == 0 || v.Cluster != w.cluster {
		return
	}
	if !p.joined {
		p.joined, p.joinedAt = true, w.now
		w.trace.printf(w.now, "%v has joined", p.id)
	}
	stamp := v.Stamp()
	if stamp.Older(p.stamp) {
		w.fail("layouts", "%v goes back from %v to %v", p.id, p.stamp, stamp)
	}
	before := p.stamp
	p.stamp = stamp
	w.caughtUp(p, before)
	if !w.newest.Older(stamp) {
		return
	}
	w.newest, w.live = stamp, v.Layouts.Live
	switch stamp.Phase {
	case core.PhaseCopy:
		w.pull(onCopy, p, w.phaseTime())
	case core.PhaseMoved:
		w.pull(onMoved, p, w.phaseTime())
		w.checkMoved(v.Layouts.Live[1])
	case core.PhaseDone:
		w.report.Stats.Transitions++
	case core.PhaseNone:
	}
}

// phaseTime draws how soon a fault strikes that waits for a phase: often
// before the news of it can have spread.
func (w *world) phaseTime() time.Duration {
	return pick(w.rng, w.plan.Latency, 100*time.Millisecond, 2*time.Second)
}

func (w *world) mono(p *process) time.Duration { return w.now - p.born }

// epoch is when every run begins, on the wall clock.
const epoch = 1_000_000 * time.Hour

func (w *world) wall(p *process) time.Duration { return epoch + w.now + p.skew }

// start runs a process on the disk of p, which survives from earlier ones.
func (w *world) start(p *process) {
	p.disk.Recover()
	w.noteRecovered(p)
	p.begun()
	w.checkSaved(p)
	p.up, p.exists, p.syncing = true, true, false
	p.gen++
	p.starts++
	p.born, p.stalledUntil = w.now, 0
	p.beliefs, p.open = [maxNodes]core.Status{}, [maxNodes]time.Duration{}
	p.view = nil
	w.net.addrs[p.addr] = p.index
	o := w.options(p)
	p.start = o.Start
	p.shards = p.shards[:0]
	for i := range o.Shards {
		s := node.NewShard(o, i, p.disk)
		p.shards = append(p.shards, &loop{index: i, machine: s, shard: s, timer: core.Never})
	}
	c, err := node.NewControl(o, p.disk)
	if err != nil {
		p.up, w.halted = false, true
		w.fail("start", "%v does not start on its own disk: %v", p.id, err)
		return
	}
	p.ctl = &loop{index: controlLoop, machine: c, control: c, timer: core.Never}
	w.trace.printf(w.now, "%v starts (start %d, address %s)", p.id, p.starts, p.addr)
	w.measure(p)
	w.input(p, controlLoop, input{kind: inBegin})
}

// recordCache holds a dozen records of each shard: fewer than there are keys in
// most runs, so that reads find some and miss others.
const recordCache = 12 << 10

func (w *world) options(p *process) node.Options {
	rng := core.Stream(w.plan.Seed, "sim/start/"+strconv.Itoa(p.index)+"/"+strconv.Itoa(p.starts))
	o := node.Options{
		Self: p.id, Start: rng.Uint64() | 1, Instance: p.instance, Addr: p.addr,
		Zone: w.plan.Zones[p.index], Weight: p.weight, Seed: rng.Uint64(), Shards: w.plan.Shards,
		Partitions: w.plan.Partitions, N: w.plan.N, R: w.plan.R, W: w.plan.W,
		Strict: w.plan.Strict, MaxHintBytes: w.plan.HintBytes, RepairBytes: w.plan.RepairBytes,
		RecordCacheBytes: recordCache * w.plan.Shards,
		PeerTimeout:      w.plan.Peer, GossipInterval: w.plan.Gossip,
		LayoutDelay: w.plan.Layout, LayoutAuto: true,
		AntiEntropyInterval: w.plan.AntiEntropy,
		TombstoneTTL:        w.plan.TTL, TombstoneInterval: w.plan.Reap,
		Admit: w.plan.Admit, Admission: w.plan.Admission,
	}
	w.plan.Calling.apply(&o)
	if p.index > 0 && w.plan.Seeds[p.index] == joinSeeds {
		o.Seeds = w.seedsOf(p)
	}
	if p.losses.seeds != nil {
		o.Seeds = p.losses.seeds
	}
	return o
}

// seedsOf returns the addresses of nodes of the cluster that p is to join.
func (w *world) seedsOf(p *process) []string {
	var seeds []string
	for _, q := range w.nodes {
		if q.index < p.index && (q.index == 0 || q.joined && len(seeds) < 2) {
			seeds = append(seeds, q.addr)
		}
	}
	return seeds
}

// crash ends the process as a power cut does.
func (w *world) crash(p *process) {
	w.trace.printf(w.now, "%v crashes", p.id)
	p.disk.Crash(w.rng)
	w.end(p)
}

// stop ends the process cleanly: what it has committed is durable.
func (w *world) stop(p *process) {
	w.trace.printf(w.now, "%v stops", p.id)
	w.checkTrees(p)
	w.saveTrees(p)
	p.disk.Sync(p.disk.Last())
	w.noteSynced(p)
	w.end(p)
}

// end forgets the process; its clients notice, at once or never.
func (w *world) end(p *process) {
	w.tallyTrees(p)
	w.tallyRepairs(p)
	p.up, p.downSince = false, w.now
	p.gen++
	p.view = nil
	p.ctl, p.shards = nil, p.shards[:0]
	w.disconnect(p)
}

// callJoin calls Join on a process that formed a cluster of one, and again
// until it has come to the cluster: the operator's part.
func (w *world) callJoin(p *process) {
	if p.joined {
		return
	}
	if p.up && w.cluster != 0 {
		j := &core.Join{Req: joinReq, Seeds: w.seedsOf(p), Deadline: w.mono(p) + joinTimeout}
		w.input(p, controlLoop, input{kind: inJoin, join: j})
	}
	w.queue.push(event{at: w.now + joinTimeout + time.Second, kind: evJoin, node: int32(p.index)})
}

// joinTimeout is how long a Join may take before it is called again.
const joinTimeout = 5 * time.Second

// joinReq is the request ID of every Join: nobody waits for its reply, since
// the view shows whether it has worked.
const joinReq = core.ReqID(1<<64 - 1)

// fail notes that a promise or an invariant is broken.
func (w *world) fail(checker, format string, args ...any) {
	v := Violation{Checker: checker, At: w.now, What: fmt.Sprintf(format, args...)}
	w.trace.printf(w.now, "VIOLATION %v", v)
	if w.violated == nil {
		w.violated = make(map[string]int)
	}
	if w.violated[checker]++; w.violated[checker] <= maxViolations {
		w.report.Violations = append(w.report.Violations, v)
	}
}
