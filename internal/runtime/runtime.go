package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/histogram"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/node"
)

// Engine is where a node keeps its data. Commit applies a batch atomically
// and calls done once, from any goroutine, when it is durable or with the
// error on which the node stops; batches that one goroutine commits one after
// another complete in that order.
type Engine interface {
	core.Store
	Commit(batch []core.Write, d core.Durability, done func(error))
}

// Transport sends envelopes. Send queues e for the node at addr and never
// waits; false says that nothing was queued.
type Transport interface {
	Send(addr string, e *core.Envelope) bool
	Reach(addr string) // a node that listens there has been heard of
	Close() error
}

// Handler is what a transport delivers to: the Runtime. Its methods never
// wait.
type Handler interface {
	Deliver(e *core.Envelope)
	SendFailed(e *core.Envelope)
}

// Options of a Runtime. Every field but EngineWork, Damage, Room and Tracer is
// needed.
type Options struct {
	Node       node.Options
	Engine     Engine
	Durability core.Durability
	// EngineWork is what admits the engine's background work; nil: it has none.
	EngineWork *EngineWork
	// Damage has what the engine finds that the disk has lost; nil: it tells
	// nobody.
	Damage *Damage
	// Connect makes the node's transport, which delivers to h from the moment
	// it is made. mono is the clock of envelopes' deadlines.
	Connect func(h Handler, mono func() time.Duration) (Transport, error)
	Logger  *slog.Logger
	// Room measures the room of the storage; nil: nobody does, and no write is
	// refused for want of it.
	Room Meter
	// Tracer takes the spans of traced requests; nil: nobody does.
	Tracer Tracer
}

// Runtime drives one node's machines. Its methods may be called from any
// goroutine.
type Runtime struct {
	self      id.Node
	engine    Engine
	work      *EngineWork // nil: the engine has none
	damage    *Damage     // nil: the engine tells of none
	transport Transport
	logger    *slog.Logger
	tracer    Tracer // nil: nobody traces
	began     time.Time
	shards    []*loop
	control   *loop
	turned    turned
	meter     meter
	counted   counted
	machine   *node.Control // the control loop's alone
	compares  bool          // anti-entropy is on
	view      atomic.Pointer[core.View]
	status    atomic.Pointer[core.ClusterStatus]
	drains    atomic.Bool   // no more requests of clients are taken
	stop      chan struct{} // closed when the loops must end
	stopOnce  sync.Once
	loops     sync.WaitGroup
	waiters   spareWaiters

	mu      sync.Mutex // guards what follows
	err     error      // what stopped the node
	changed chan struct{}
	watches []*Watch // in the order of their beginning

	asks *asks // those who wait for an answer of this node alone
}

// New returns a node that runs: its loops have started, and it forms, goes on
// with or looks for its cluster. An error leaves nothing running.
func New(o Options) (*Runtime, error) {
	r := &Runtime{
		self: o.Node.Self, engine: o.Engine, work: o.EngineWork, damage: o.Damage, logger: o.Logger, tracer: o.Tracer,
		began: time.Now(), stop: make(chan struct{}), changed: make(chan struct{}), asks: newAsks(),
		meter: newMeter(o.Room), compares: o.Node.AntiEntropyInterval > 0,
	}
	o.Node.EngineWork = o.EngineWork != nil
	control, err := node.NewControl(o.Node, o.Engine)
	if err != nil {
		return nil, fmt.Errorf("reading what this node knew of its cluster: %w", err)
	}
	r.machine = control
	if o.Room != nil { // before anything is written
		if report, ok := r.meter.take(r.logger); ok {
			control.Room(r.now(), report)
		}
	}
	r.view.Store(&core.View{Self: o.Node.Self})
	for i := range o.Node.Shards {
		r.shards = append(r.shards, r.newShard(o, i))
	}
	r.control = r.newControl(o)
	if r.work != nil {
		r.work.begin(o.Node.Shards, r.reportLoad)
	}
	r.publish()
	if r.transport, err = o.Connect(r, r.mono); err != nil {
		return nil, err
	}
	for _, l := range append(r.shards, r.control) {
		r.loops.Go(l.run)
	}
	if o.Room != nil {
		r.loops.Go(r.watchRoom)
	}
	return r, nil
}

func (r *Runtime) newShard(o Options, i int) *loop {
	shard := node.NewShard(o.Node, i, o.Engine)
	return &loop{
		runtime: r, machine: shard, durability: o.Durability, queue: newQueue(), waiters: newWaiters(i, o.Node.Buckets),
		drains: histogram.New(o.Node.Buckets),
		begin:  func(core.Now, *core.Out) {}, room: shard.Room,
		after: func() {}, finish: shard.Stop,
		step: func(l *loop, now core.Now, in input, out *core.Out) {
			switch v := in.value.(type) {
			case *core.Request:
				v.Req = l.waiters.add(in.waiter, v.Op, v.Arrived)
				shard.Submit(now, v, out)
			case *core.View:
				shard.SetView(now, v, out)
			case *damage:
				shard.Damaged(now, v.take(), out)
			case *countAsk:
				v.answer(l, shard.Count)
			}
		},
	}
}

func (r *Runtime) newControl(o Options) *loop {
	control := r.machine
	return &loop{
		// What Control remembers is little, and must not be older than the data.
		runtime: r, machine: control, durability: core.Sync, queue: newQueue(), waiters: newWaiters(o.Node.Shards, nil),
		begin: control.Begin, room: func() int { return 0 }, // clients do not come here
		after: r.publish, finish: func(*core.Out) bool { return false },
		step: func(l *loop, now core.Now, in input, out *core.Out) {
			switch v := in.value.(type) {
			case *core.Join:
				v.Req = l.waiters.add(in.waiter, 0, 0)
				control.Join(now, v, out)
			case *[]core.PeerReport:
				control.Report(now, *v, out)
			case *core.ShardReport:
				control.Shard(now, *v, out)
			case *core.LoadReport:
				control.Load(now, *v)
			case *core.RoomReport:
				control.Room(now, *v)
			case *damage:
				control.Damaged(now, v.take(), out)
			case *countAsk:
				v.answer(l, control.Count)
			}
		},
	}
}

// publish passes Control's new view on, and shows its status. It runs on the
// control loop, and once before the loops start.
func (r *Runtime) publish() {
	if v := r.machine.View(); v != nil {
		r.view.Store(v)
		for _, l := range r.shards {
			l.queue.put(input{kind: newView, value: v})
		}
		if r.damage != nil && v.ReadLayout() != nil {
			r.damage.begin(r.shards, r.control) // after the view, without which a shard does not know what is its own
		}
		if r.work != nil {
			r.work.limit(v.Budget(len(r.shards)))
		}
	}
	status := r.machine.Status()
	if !r.compares { // a pair that nobody compares is not one that is left to compare
		status.Trees.Pairs, status.Trees.Compared = 0, 0
	}
	before := r.status.Swap(&status)
	if before == nil {
		before = &core.ClusterStatus{Alarms: status.Alarms}
	}
	r.tellRoom(before.Room, status.Room)
	if before.Alarms != status.Alarms {
		r.logger.Error("this node, or a peer, has lost data that it had acknowledged, or sends what breaks an invariant",
			"lost_data", status.Alarms.LostData, "conflicts", status.Alarms.Conflicts)
	}
	r.mu.Lock()
	close(r.changed)
	r.changed = make(chan struct{})
	r.mu.Unlock()
}

// report passes a shard's reports on to Control. Out's slices are its loop's.
func (r *Runtime) report(out *core.Out) {
	if len(out.Reports) > 0 {
		reports := append([]core.PeerReport(nil), out.Reports...)
		r.control.queue.put(input{kind: peerReports, value: &reports})
	}
	for i := range out.Shards {
		one := out.Shards[i]
		r.control.queue.put(input{kind: shardReport, value: &one})
	}
	for _, one := range out.Loads {
		r.reportLoad(one)
	}
}

func (r *Runtime) reportLoad(one core.LoadReport) {
	r.control.queue.put(input{kind: loadReport, value: &one})
}

func (r *Runtime) mono() time.Duration { return time.Since(r.began) }

func (r *Runtime) now() core.Now {
	now := time.Now()
	return core.Now{Mono: now.Sub(r.began), Wall: time.Duration(now.UnixNano())}
}

// Do carries out a client's request and returns its result: by the timeout,
// or when ctx ends. It fills in q's Req and Deadline; q and what it points to
// must not be changed any more.
func (r *Runtime) Do(ctx context.Context, q *core.Request, timeout time.Duration) core.Result {
	if at, ok := ctx.Deadline(); ok { // what comes later comes for nobody, here and at peers
		timeout = min(timeout, time.Until(at))
	}
	w := r.waiters.get()
	if refused, ok := r.submit(q, timeout, w); !ok {
		r.waiters.put(w)
		return refused
	}
	return r.await(ctx, w, q.Op)
}

// await waits for the reply to a request, or for the end of ctx.
func (r *Runtime) await(ctx context.Context, w *waiter, op core.Op) core.Result {
	select {
	case reply := <-w.reply:
		r.waiters.put(w)
		return reply.Result
	case <-ctx.Done():
		outcome := core.Unknown
		if w.leave() {
			r.turned.left.Add(1)
			outcome = core.NotWritten
		}
		if op == core.OpGet {
			outcome = core.NotWritten
		}
		return core.Result{Code: core.CodeTimeout, Outcome: outcome}
	}
}

// Begin carries out a client's request like Do, and gives its result to to,
// before it returns or later.
func (r *Runtime) Begin(q *core.Request, timeout time.Duration, to core.Taker) {
	w := r.waiters.get()
	w.to, w.spare = to, &r.waiters
	if refused, ok := r.submit(q, timeout, w); !ok {
		w.give(core.Reply{Result: refused})
	}
}

// TurnsAway says that a request for a key would be turned away as overloaded if it
// came now, and counts it.
func (r *Runtime) TurnsAway(op core.Op, key []byte) bool {
	l := r.view.Load().ReadLayout()
	if l == nil || !r.shards[int(l.Partition(key))%len(r.shards)].queue.full.Load() {
		return false
	}
	r.turned.count(op, core.CodeOverloaded)
	return true
}

// submit queues a client's request for the shard of its key; where that cannot
// be, it returns the result.
func (r *Runtime) submit(q *core.Request, timeout time.Duration, w *waiter) (refused core.Result, ok bool) {
	q.Arrived = r.mono()
	q.Deadline = q.Arrived + timeout
	if timeout <= 0 {
		r.turned.left.Add(1)
		return core.Result{Code: core.CodeTimeout, Outcome: core.NotWritten}, false
	}
	l := r.view.Load().ReadLayout()
	if l == nil {
		r.turned.count(q.Op, core.CodeNotReady)
		return core.Result{Code: core.CodeNotReady, Outcome: core.NotWritten}, false
	}
	shard := r.shards[int(l.Partition(q.Key))%len(r.shards)]
	if !shard.queue.put(input{kind: clientRequest, waiter: w, value: q}) {
		return r.turnAway(q.Op), false
	}
	return core.Result{}, true
}

// turnAway answers a request that a queue has no room for, and counts it.
func (r *Runtime) turnAway(op core.Op) core.Result {
	result := r.turnedAway()
	r.turned.count(op, result.Code)
	return result
}

// turnedAway says why a queue has not taken a request.
func (r *Runtime) turnedAway() core.Result {
	if r.drains.Load() {
		return core.Result{Code: core.CodeStopped, Outcome: core.NotWritten}
	}
	select {
	case <-r.stop:
		return core.Result{Code: core.CodeStopped, Outcome: core.NotWritten}
	default:
		return core.Result{Code: core.CodeOverloaded, Outcome: core.NotWritten}
	}
}

// Join makes this node a member of the seeds' cluster and returns once it
// holds identity, members and layout.
func (r *Runtime) Join(ctx context.Context, seeds []string, timeout time.Duration) core.Reply {
	w := r.waiters.get()
	j := &core.Join{Seeds: seeds, Deadline: r.mono() + timeout}
	if !r.control.queue.put(input{kind: joinRequest, waiter: w, value: j}) {
		r.waiters.put(w)
		return core.Reply{Result: r.turnedAway()}
	}
	select {
	case reply := <-w.reply:
		r.waiters.put(w)
		return reply
	case <-ctx.Done():
		return core.Reply{Result: core.Result{Code: core.CodeTimeout}, Detail: "the caller has given up"}
	}
}

// Status returns what Control knew after its latest drain. The caller must
// not change it.
func (r *Runtime) Status() core.ClusterStatus { return *r.status.Load() }

// Changed returns a channel that is closed when the status may have changed.
// Take the channel before looking at the status, so that nothing is missed.
func (r *Runtime) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// Deliver takes an envelope from the transport. None answers a question from
// outside, which never leave this node.
func (r *Runtime) Deliver(e *core.Envelope) {
	if isOutside(e) {
		return
	}
	l := r.loop(e)
	k := peerRequest
	if e.Reply {
		k = peerReply
	}
	if !l.queue.put(input{kind: k, value: e}) && !e.Reply {
		r.turned.peers.Add(1)
		r.refuse(e)
	}
}

// refuse answers a request for which a queue has no room. A forward is
// dropped instead: a refusal promises that no copy of it will be executed,
// and only the coordinator can promise that. Gossip comes again by itself.
func (r *Runtime) refuse(e *core.Envelope) {
	switch e.Msg.(type) {
	case *core.Apply, *core.Hint, *core.Read, *core.Pull, *core.TreeCompare, *core.BucketAsk:
	default:
		return
	}
	v := r.view.Load()
	answer := v.Answer(e, r.mono()+id.MaxMessageAge, &core.Refused{Why: core.RefusedOverloaded})
	r.send(&answer)
}

// SendFailed takes back a request that was provably never sent.
func (r *Runtime) SendFailed(e *core.Envelope) {
	switch e.Msg.(type) {
	case *core.Gossip, *core.GossipReply:
		r.control.queue.put(input{kind: sendFailed, value: e})
	default:
		if i := e.Req.Shard(); i < len(r.shards) {
			r.shards[i].queue.put(input{kind: sendFailed, value: e})
		}
	}
}

func (r *Runtime) loop(e *core.Envelope) *loop {
	if i := node.Route(e, len(r.shards)); i >= 0 {
		return r.shards[i]
	}
	return r.control
}

// send hands e to the transport, or to this node's own loops, and says
// whether it was taken.
func (r *Runtime) send(e *core.Envelope) bool {
	if e.Reply && isOutside(e) {
		r.asks.answer(e)
		return true
	}
	if e.To == r.self {
		own := *e
		r.Deliver(&own)
		return true
	}
	addr := e.Addr
	if addr == "" {
		peer, _ := r.view.Load().Peer(e.To)
		addr = peer.Addr
	}
	return addr != "" && r.transport.Send(addr, e)
}

// fail stops the node on an error after which its state is not known.
func (r *Runtime) fail(err error) {
	r.mu.Lock()
	first := r.err == nil
	r.err = errors.Join(r.err, err)
	r.mu.Unlock()
	if first {
		r.logger.Error("the node's machines stop", "error", err)
	}
	r.stopOnce.Do(func() { close(r.stop) })
}

// Done is closed when the node stops: by Stop, or on a failure, which Err
// then returns.
func (r *Runtime) Done() <-chan struct{} { return r.stop }

// Err returns the failure that stopped the node, nil where there is none.
func (r *Runtime) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Drain takes no more requests of clients, and returns when all that were under
// way are answered, or when ctx ends or the node has stopped. A call takes the
// place of one before it.
func (r *Runtime) Drain(ctx context.Context) {
	r.drains.Store(true)
	ends := make([]chan struct{}, len(r.shards))
	for i, l := range r.shards {
		ends[i] = make(chan struct{})
		l.queue.endRequests(ends[i])
	}
	for _, ended := range ends {
		select {
		case <-ended:
		case <-r.stop:
			return
		case <-ctx.Done():
			return
		}
	}
}

// Stop ends the loops, answers everyone who still waits, closes the transport
// and waits for all of it. The engine is the caller's to close. It is
// idempotent.
func (r *Runtime) Stop() error {
	r.stopOnce.Do(func() { close(r.stop) })
	r.loops.Wait()
	return r.transport.Close()
}
