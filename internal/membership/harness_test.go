package membership_test

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/breaker"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/membership"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// world is a few machines under one clock, with a network, a disk each, and
// shards that adopt views, copy and report. It knows the truth about all of
// them and checks it against what the machines claim.
type world struct {
	rng    *rand.Rand
	now    time.Duration
	seq    int
	events queue
	nodes  []*node // in order of their making

	// How the world behaves.
	network func() (delay time.Duration, copies int) // copies 0: lost
	disk    func() time.Duration
	shards  func() time.Duration // from a view to the report on it
	copying func() time.Duration // from a view to the report that all is copied
	cut     map[[2]string]bool   // addresses, from and to
	aliases map[string]string    // more addresses of nodes

	truth    truth
	names    []ring.Name // of layouts, in the order in which they were shown
	clusters []uint64    // likewise
	faults   []string    // broken invariants
	log      func(format string, args ...any)
	messages bool // are logged
	sending  func(e *core.Envelope)
}

// truth is what really happened, whoever knows of it.
type truth struct {
	layouts map[ring.Name]*ring.Layout
	synced  map[id.Node]map[ring.Name]bool
	stamps  map[id.Node]core.Stamp // what all shards of the node go by, durably
}

// node is one machine with its process and its disk.
type node struct {
	world   *world
	cfg     membership.Config
	store   *store
	machine *membership.Machine // nil: down
	began   time.Duration
	start   int // of the process; events of an earlier one are void
	unsaved []flush
	view    *core.View
	reached []string // where it has told its transport to try again at once
	shards  []core.ShardReport
	replies []core.Reply
	sent    int
	stalled time.Duration       // until when the process stands still
	watched bool                // changes of peers' status are logged
	onDisk  *core.ClusterStatus // what a restart would know; nil: look
	busy    []time.Duration     // when each shard is through with the views it was given

	cluster uint64
	highest core.Stamp // published in that cluster, over all starts
}

type flush struct {
	number uint64
	writes []core.Write
	held   []core.Reply
}

type event struct {
	at  time.Duration
	seq int
	do  func()
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].at, q[j].at), cmp.Compare(q[i].seq, q[j].seq)) < 0
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// newWorld returns a world without faults: the network takes 1 ms, the disk 2.
func newWorld(seed uint64) *world {
	always := func(d time.Duration) func() time.Duration { return func() time.Duration { return d } }
	return &world{
		rng:     rand.New(rand.NewPCG(seed, 0)),
		network: func() (time.Duration, int) { return time.Millisecond, 1 },
		disk:    always(2 * time.Millisecond),
		shards:  always(time.Millisecond),
		copying: always(20 * time.Millisecond),
		cut:     map[[2]string]bool{},
		aliases: map[string]string{},
		truth: truth{
			layouts: map[ring.Name]*ring.Layout{},
			synced:  map[id.Node]map[ring.Name]bool{},
			stamps:  map[id.Node]core.Stamp{},
		},
		log:     func(string, ...any) {},
		sending: func(*core.Envelope) {},
	}
}

func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.events, event{at: w.now + d, seq: w.seq, do: do})
}

// run lets the time pass.
func (w *world) run(d time.Duration) {
	end := w.now + d
	for len(w.events) > 0 && w.events[0].at <= end {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
	w.now = end
}

func (w *world) line(format string, args ...any) string {
	return fmt.Sprintf("%v: ", w.now) + fmt.Sprintf(format, args...)
}

func (w *world) fault(format string, args ...any) {
	w.faults = append(w.faults, w.line(format, args...))
}

func (w *world) byAddr(addr string) *node {
	if real, ok := w.aliases[addr]; ok {
		addr = real
	}
	for _, n := range w.nodes {
		if n.cfg.Addr == addr && n.machine != nil {
			return n
		}
	}
	return nil
}

// setCut cuts or heals the connection of two addresses.
func (w *world) setCut(a, b string, cut bool) {
	w.cut[[2]string{a, b}], w.cut[[2]string{b, a}] = cut, cut
}

// config returns what tests share; a test changes what it is about.
func config(name string) membership.Config {
	return membership.Config{
		Self:           id.Node(name),
		Addr:           name + ":1",
		Weight:         1,
		Instance:       1,
		Seed:           7,
		Shards:         2,
		Partitions:     16,
		N:              3,
		R:              2,
		GossipInterval: time.Second,
		LayoutDelay:    300 * time.Millisecond,
		LayoutAuto:     true,
		Breaker:        breaker.Default(),
	}
}

// add makes a node with an empty disk; start starts it.
func (w *world) add(cfg membership.Config) *node {
	n := &node{world: w, cfg: cfg, store: newStore()}
	w.nodes = append(w.nodes, n)
	return n
}

func (n *node) begin() error {
	n.start++
	n.cfg.Start = uint64(n.start)<<32 | n.cfg.Instance
	machine, err := membership.New(n.cfg, n.store)
	if err != nil {
		return err
	}
	n.machine, n.began = machine, n.world.now
	n.view, n.unsaved, n.onDisk = nil, nil, nil
	n.busy = make([]time.Duration, n.cfg.Shards)
	n.shards = make([]core.ShardReport, n.cfg.Shards)
	n.step(func(now core.Now, out *core.Out) { n.machine.Begin(now, out) })
	return nil
}

// crash ends the process. Of what was not synced, a prefix survives.
func (n *node) crash() {
	n.machine = nil
	n.start++
	if len(n.unsaved) > 0 {
		for _, f := range n.unsaved[:n.world.rng.IntN(len(n.unsaved)+1)] {
			n.store.save(f.writes)
		}
	}
	n.store.crash()
}

// in runs f after d, unless the process has ended by then.
func (n *node) in(d time.Duration, f func()) {
	start := n.start
	n.world.after(d, func() {
		if n.start == start && n.machine != nil {
			f()
		}
	})
}

func (n *node) now() core.Now {
	mono := n.world.now - n.began
	return core.Now{Mono: mono, Wall: n.world.now}
}

// step drives the machine as a loop does: one input, one flush.
func (n *node) step(input func(core.Now, *core.Out)) {
	if left := n.stalled - n.world.now; left > 0 {
		n.in(left, func() { n.step(input) })
		return
	}
	var out core.Out
	input(n.now(), &out)
	if errors.Is(out.Failed, core.ErrOldDisk) {
		n.world.log("%s stops: %v", n.cfg.Self, out.Failed)
		n.crash()
		return
	}
	if out.Failed != nil {
		n.world.fault("%s: %v", n.cfg.Self, out.Failed)
	}
	number := n.machine.Flush()
	n.reached = append(n.reached, out.Reached...)
	for _, c := range out.Statuses {
		if n.watched {
			n.world.log("%s: %s is %v, was %v", n.cfg.Self, c.Peer, c.To, c.From)
		}
	}
	n.reply(out.Replies)
	for _, e := range out.Sends {
		n.send(e)
	}
	if len(out.Writes) > 0 || len(out.RepliesHeld) > 0 {
		n.store.apply(out.Writes)
		n.unsaved = append(n.unsaved, flush{number: number, writes: slices.Clone(out.Writes), held: out.RepliesHeld})
		n.in(n.world.disk(), func() { n.synced(number) })
	}
	if v := n.machine.View(); v != nil {
		n.adopt(v)
	}
	if next, ok := n.machine.Next(); ok {
		n.in(max(0, next-n.now().Mono), n.tick)
	}
}

func (n *node) reply(replies []core.Reply) {
	n.replies = append(n.replies, replies...)
	for _, r := range replies {
		n.world.log("%s joined: %v %s", n.cfg.Self, r.Result.Code, n.world.anonymous(r.Detail))
	}
}

func (n *node) tick() {
	if next, ok := n.machine.Next(); ok && next <= n.now().Mono {
		n.step(func(now core.Now, out *core.Out) { n.machine.Tick(now, out) })
	}
}

// synced completes a flush and those before it.
func (n *node) synced(number uint64) {
	var held []core.Reply
	for len(n.unsaved) > 0 && n.unsaved[0].number <= number {
		n.store.save(n.unsaved[0].writes)
		held = append(held, n.unsaved[0].held...)
		n.unsaved, n.onDisk = n.unsaved[1:], nil
	}
	n.reply(held)
	n.step(func(now core.Now, out *core.Out) { n.machine.Durable(now, number, out) })
}

// send carries an envelope, whose deadline travels as the time that remains.
func (n *node) send(e core.Envelope) {
	w := n.world
	n.sent++
	if e.From != n.cfg.Self || e.Addr == "" || e.Addr == n.cfg.Addr || e.To == n.cfg.Self {
		w.fault("%s sent a misaddressed envelope to %q at %q", n.cfg.Self, e.To, e.Addr)
	}
	n.checkTold(&e)
	w.sending(&e)
	if w.messages {
		w.log("%s → %s: %s", n.cfg.Self, cmp.Or(string(e.To), e.Addr), showMessage(&e))
	}
	if w.cut[[2]string{n.cfg.Addr, e.Addr}] {
		return
	}
	remaining := e.Deadline - n.now().Mono
	delay, copies := w.network()
	for range copies {
		w.after(delay, func() {
			to := w.byAddr(e.Addr)
			if to == nil {
				failed := e
				n.in(delay, func() {
					n.step(func(now core.Now, out *core.Out) { n.machine.SendFailed(now, &failed, out) })
				})
				return
			}
			arrived := e
			arrived.Deadline = to.now().Mono + remaining - delay
			to.step(func(now core.Now, out *core.Out) { to.machine.Deliver(now, &arrived, out) })
		})
		delay, _ = w.network()
	}
}

// checkTold checks that a message tells nothing that its sender could forget.
func (n *node) checkTold(e *core.Envelope) {
	if n.onDisk == nil {
		saved, err := membership.New(n.cfg, n.store.durable())
		if err != nil {
			n.world.fault("%s speaks, but its disk says: %v", n.cfg.Self, err)
			return
		}
		status := saved.Status()
		n.onDisk = &status
	}
	status := n.onDisk
	if e.Stamp != (core.Stamp{}) && status.Layouts.Stamp().Older(e.Stamp) {
		n.world.fault("%s tells of %v, but its disk has %v", n.cfg.Self, e.Stamp, status.Layouts.Stamp())
	}
	if e.Cluster != 0 && status.Cluster != e.Cluster {
		n.world.fault("%s speaks for cluster %x, but its disk has %x", n.cfg.Self, e.Cluster, status.Cluster)
	}
}

// adopt gives a view to the shards, which report on it after a while.
func (n *node) adopt(v *core.View) {
	w := n.world
	w.checkView(n, v)
	n.view = v
	for shard := range n.shards {
		n.busy[shard] = max(n.busy[shard], w.now+w.shards())
		n.in(n.busy[shard]-w.now, func() { n.shardAdopts(shard, v) })
	}
}

func (n *node) shardAdopts(shard int, v *core.View) {
	r := &n.shards[shard]
	if r.Stamp == v.Stamp() {
		return
	}
	r.Shard, r.Stamp = shard, v.Stamp()
	newest := v.Layouts.Live[len(v.Layouts.Live)-1]
	if v.Layouts.Phase != core.PhaseCopy || !newest.Has(n.cfg.Self) {
		r.Synced = newest.Name()
	} else {
		n.in(n.world.copying(), func() { n.shardCopied(shard, newest.Name()) })
	}
	n.report(shard)
}

func (n *node) shardCopied(shard int, name ring.Name) {
	if n.shards[shard].Stamp.Layout == name && n.shards[shard].Synced != name {
		n.shards[shard].Synced = name
		n.report(shard)
	}
}

// report tells the machine, and the truth, how far a shard has come.
func (n *node) report(shard int) {
	low := slices.MinFunc(n.shards, func(a, b core.ShardReport) int { return a.Stamp.Compare(b.Stamp) })
	t := &n.world.truth
	if t.stamps[n.cfg.Self].Older(low.Stamp) {
		t.stamps[n.cfg.Self] = low.Stamp
	}
	name := n.shards[0].Synced
	if !slices.ContainsFunc(n.shards, func(r core.ShardReport) bool { return r.Synced != name }) {
		if t.synced[n.cfg.Self] == nil {
			t.synced[n.cfg.Self] = map[ring.Name]bool{}
		}
		t.synced[n.cfg.Self][name] = true
	}
	r := n.shards[shard]
	n.step(func(now core.Now, out *core.Out) { n.machine.Shard(now, r, out) })
}

// checkView checks that phases move forward only, and not before their time.
func (w *world) checkView(n *node, v *core.View) {
	stamp := v.Stamp()
	if v.Cluster != n.cluster {
		n.cluster, n.highest = v.Cluster, core.Stamp{}
	}
	if stamp.Older(n.highest) {
		w.fault("%s goes back from %v to %v", n.cfg.Self, n.highest, stamp)
	}
	w.showCluster(v.Cluster)
	if n.highest != stamp {
		w.showLayouts(v.Layouts)
		w.log("%s goes by %s", n.cfg.Self, w.showLayouts(v.Layouts))
	}
	n.highest = stamp
	for _, l := range v.Layouts.Live {
		w.truth.layouts[l.Name()] = l
	}
	newest := v.Layouts.Live[len(v.Layouts.Live)-1]
	if v.Layouts.Phase >= core.PhaseMoved && newest.Name().Number > 1 {
		w.checkSynced(n, newest)
	}
	if v.Layouts.Phase == core.PhaseDone && newest.Name().Number > 1 {
		w.checkRetired(n, newest)
	}
}

func (w *world) checkSynced(n *node, l *ring.Layout) {
	for _, member := range l.Members() {
		if !w.truth.synced[member.ID][l.Name()] {
			w.fault("%s moved to %v, but %s has not copied", n.cfg.Self, l.Name(), member.ID)
		}
	}
}

func (w *world) checkRetired(n *node, l *ring.Layout) {
	old, ok := w.truth.layouts[l.Parent()]
	if !ok {
		w.fault("%s goes by %v, whose parent nobody has seen", n.cfg.Self, l.Name())
		return
	}
	refuses := core.Stamp{Layout: l.Name(), Phase: core.PhaseMoved}
	for p := range old.Partitions() {
		owners := old.Owners(ring.Partition(p))
		confirmed := 0
		for _, o := range owners {
			if !w.truth.stamps[o].Older(refuses) {
				confirmed++
			}
		}
		if need := len(owners) - min(n.cfg.R, len(owners)) + 1; confirmed < need {
			w.fault("%s retired %v, but only %d owners of partition %d refuse it; %d are needed", n.cfg.Self, l.Parent(), confirmed, p, need)
		}
	}
}

// store is a disk: what is synced survives, and a prefix of the rest.
type store struct {
	current, saved map[string][]byte
	fails          error // what a scan returns
}

func newStore() *store { return &store{current: map[string][]byte{}, saved: map[string][]byte{}} }

func (s *store) apply(writes []core.Write) { write(s.current, writes) }
func (s *store) save(writes []core.Write)  { write(s.saved, writes) }

func (s *store) crash() {
	s.current = maps.Clone(s.saved)
}

// durable returns a store with what a crash would leave for certain.
func (s *store) durable() *store { return &store{current: s.saved} }

func write(to map[string][]byte, writes []core.Write) {
	for _, w := range writes {
		if w.Delete {
			delete(to, string(w.Key))
		} else {
			to[string(w.Key)] = w.Value
		}
	}
}

func (s *store) Get(key []byte) ([]byte, error) {
	if v, ok := s.current[string(key)]; ok {
		return v, nil
	}
	return nil, core.ErrNotFound
}

func (s *store) Scan(from, to []byte, limit core.Limit, f func(key, value []byte) bool) ([]byte, error) {
	if s.fails != nil {
		return nil, s.fails
	}
	var keys []string
	for k := range s.current {
		if k >= string(from) && k < string(to) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for i, k := range keys {
		if i == limit.Keys {
			return []byte(k), nil
		}
		if !f([]byte(k), s.current[k]) {
			return nil, nil
		}
	}
	return nil, nil
}
