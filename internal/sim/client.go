package sim

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/dynamo-kv/dynamo/internal/audit"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// Limits of the simulated clients.
const (
	maxOutstanding = 4 // operations of a client that does not wait
	maxAttempts    = 3 // of a write whose outcome is unknown
	longestRequest = 5 * time.Second

	// answerGrace is how long after its deadline the answer of a live node
	// may still be on its way.
	answerGrace = 250 * time.Millisecond
)

// client is one client: it has one operation at a time, or a few.
type client struct {
	index       int
	rng         *rand.Rand
	pipelined   bool
	outstanding int
	busyUntil   time.Duration
	awake       bool    // an evClient is on its way
	storm       int     // blind puts to go
	last        []*held // by key: the context of the latest read or write
}

// operation is one thing that a client wants, over its attempts.
type operation struct {
	client   *client
	key      *keyHistory
	op       core.Op
	options  core.Options
	write    *write    // nil for a get
	must     audit.Set // mints that a get has to cover
	found    audit.Set // mints that blocking gets had found before it began
	layout   ring.Name // that everybody went by when it began, if there was one
	r        int       // of a get, as it counts
	timeout  time.Duration
	attempts int
	unsure   bool // an attempt's outcome was unknown
	modify   bool // a get whose context goes into a write at once
	final    bool // a get of the last check
	strict   bool // only owners count
	losses   int  // of disks, when it began
}

// attempt is one request of an operation to one node.
type attempt struct {
	op       *operation
	node     int
	gen      uint32 // of the process that it went to
	sent     bool   // it has reached a process
	answered bool   // that process has answered
	began    time.Duration
	deadline time.Duration // virtual time; at the node
	over     bool
}

func newClients(p *Plan) []*client {
	var cs []*client
	for i := range p.Clients {
		cs = append(cs, &client{
			index: i, rng: core.Stream(p.Seed, "sim/client/"+string(rune('a'+i))),
			pipelined: i < p.Pipelined, last: make([]*held, p.Keys),
		})
	}
	return cs
}

// busy makes every client work for a while.
func (w *world) busy(b Burst) {
	w.burst = b
	for _, c := range w.clients {
		if b.Storm {
			c.storm = 2 * id.MaxSiblings / len(w.clients)
		}
		c.busyUntil = max(c.busyUntil, w.now+b.For)
		w.wakeClient(c, drawTime(c.rng, 100*time.Millisecond))
	}
}

func (w *world) wakeClient(c *client, after time.Duration) {
	if c.awake {
		return
	}
	c.awake = true
	w.queue.push(event{at: w.now + after, kind: evClient, node: int32(c.index)})
}

// act begins the client's next operation, unless its burst is over.
func (w *world) act(c *client) {
	c.awake = false
	if w.now >= c.busyUntil && c.storm == 0 || w.healing {
		return
	}
	limit := 1
	if c.pipelined {
		limit = maxOutstanding
	}
	if c.outstanding < limit {
		w.begin(c.draw(w))
	}
	if c.pipelined {
		w.wakeClient(c, c.think())
	}
}

// hot says whether the present burst's favourites are to be used.
func (w *world) hot(rng *rand.Rand) bool {
	return w.burst.Hot && w.now < w.burst.At+w.plan.Warmup+w.burst.For && rng.IntN(2) == 0
}

// resting says whether clients leave a key alone for now: each does so in turn,
// for long enough to be forgotten.
func (w *world) resting(key int) bool {
	turns := 3
	if w.plan.steady {
		turns = 2
	}
	return (key+int(w.now/w.plan.restTime()))%turns == 0
}

// think draws a pause: half of them are hardly any, so that clients race.
func (c *client) think() time.Duration {
	if c.storm > 0 || c.rng.IntN(2) == 0 {
		return drawTime(c.rng, 4*time.Millisecond)
	}
	return drawTime(c.rng, 1200*time.Millisecond)
}

// draw chooses the next operation.
func (c *client) draw(w *world) *operation {
	if c.storm > 0 {
		c.storm--
		return c.put(w, w.history.keys[w.burst.Key], nil, false)
	}
	p := w.plan
	i := c.rng.IntN(p.Keys)
	if p.Skewed && c.rng.IntN(3) > 0 {
		i = c.rng.IntN(min(p.Keys, 3))
	}
	if w.hot(c.rng) {
		i = w.burst.Key
	}
	for w.resting(i) {
		i = (i + 1) % p.Keys
	}
	k := w.history.keys[i]
	switch n := c.rng.IntN(100); {
	case n < 45:
		op := c.get(w, k)
		op.modify = n < 25
		return op
	case n < 57: // with what this client has seen last
		return c.put(w, k, c.last[i], c.rng.IntN(5) == 0)
	case n < 69: // with what somebody was given some time ago: reads and puts
		return c.put(w, k, k.contexts[c.rng.IntN(len(k.contexts))], c.rng.IntN(5) == 0)
	case n < 76:
		return c.put(w, k, nil, false)
	case n < 95:
		return c.overwrite(w, k, n >= 91)
	}
	return c.put(w, k, c.last[i], true)
}

func (c *client) operation(w *world, k *keyHistory, op core.Op) *operation {
	o := &operation{client: c, key: k, op: op, r: w.plan.R, timeout: w.plan.Request}
	o.timeout = pick(c.rng, o.timeout, o.timeout, 500*time.Millisecond, longestRequest)
	o.options.Quorum = pick(c.rng, core.QuorumDefault, core.QuorumDefault, core.QuorumStrict, core.QuorumSloppy)
	if w.plan.Strict && o.options.Quorum == core.QuorumSloppy {
		o.options.Quorum = core.QuorumDefault // or most checks of strict quorums would have nothing to check
	}
	o.strict = o.options.Quorum == core.QuorumStrict || o.options.Quorum == core.QuorumDefault && w.plan.Strict
	return o
}

func (c *client) get(w *world, k *keyHistory) *operation {
	o := c.operation(w, k, core.OpGet)
	if w.plan.Vary && c.rng.IntN(2) == 0 {
		o.options.R = 1 + c.rng.IntN(w.plan.N)
		o.r = o.options.R
	}
	if w.plan.Blocking > 0 && c.rng.Float64() < w.plan.Blocking {
		o.options.Repair, o.options.Quorum, o.strict = core.RepairBlocking, core.QuorumDefault, true
	}
	return o
}

// put returns a put with a context; without one it is blind. A delete without
// a context is an Overwrite, since a delete with neither is an error.
func (c *client) put(w *world, k *keyHistory, context *held, remove bool) *operation {
	if context == nil && remove {
		return c.overwrite(w, k, true)
	}
	o := c.writing(w, k, remove)
	o.write.context = context
	return o
}

func (c *client) overwrite(w *world, k *keyHistory, remove bool) *operation {
	o := c.writing(w, k, remove)
	o.write.overwrite, o.options.Overwrite = true, true
	return o
}

func (c *client) writing(w *world, k *keyHistory, remove bool) *operation {
	h := w.history
	o := c.operation(w, k, core.OpPut)
	wr := &write{number: len(h.writes), key: k, tombstone: remove, required: w.plan.W}
	if w.plan.Vary && c.rng.IntN(2) == 0 {
		o.options.W = 1 + c.rng.IntN(w.plan.N)
		wr.required = o.options.W
	}
	if remove {
		o.op = core.OpDelete
	} else {
		padding := c.rng.IntN(200)
		if c.rng.IntN(200) == 0 {
			padding = c.rng.IntN(100_000)
		}
		wr.value = audit.NewValue(wr.number, k.key, padding)
	}
	if remove || c.rng.Float64() >= w.plan.ZeroID {
		wr.id = newWriteID(c.rng)
		h.byID[wr.id] = wr
	}
	o.options.WriteID = wr.id
	o.write = wr
	h.writes = append(h.writes, wr)
	return o
}

func newWriteID(rng *rand.Rand) (w version.WriteID) {
	binary.BigEndian.PutUint64(w[:8], rng.Uint64())
	binary.BigEndian.PutUint64(w[8:], rng.Uint64())
	return w
}

// begin starts an operation: what a get has to find is what was acknowledged
// before now.
func (w *world) begin(o *operation) {
	o.client.outstanding++
	o.losses = w.losses
	w.report.Stats.operation(o)
	switch {
	case !o.strict: // fallbacks need not overlap
	case o.op == core.OpGet:
		o.must = w.history.overlapping(o.key, o.r)
		w.history.mustNotGoBack(o)
	case o.op == core.OpDelete && o.options.Overwrite:
		o.must = w.history.overlapping(o.key, w.plan.R)
	}
	w.try(o)
}

// try sends an operation's request to some node, an owner or not.
func (w *world) try(o *operation) {
	o.attempts++
	if o.write != nil {
		o.write.attempts++
	}
	p := w.someNode(o.client.rng)
	n := int64(len(w.attempts))
	a := &attempt{op: o, node: p.index, gen: p.gen, began: w.now}
	w.attempts = append(w.attempts, a)
	after := drawTime(o.client.rng, 2*w.plan.Latency)
	a.deadline = w.now + after + o.timeout
	w.queue.push(event{at: w.now + after, kind: evRequest, node: int32(p.index), n: n})
	w.queue.push(event{at: a.deadline + answerGrace, kind: evExpire, n: n})
}

// someNode draws a node that a client may know: one that has joined, or that
// still tries and has not formed a cluster of its own.
func (w *world) someNode(rng *rand.Rand) *process {
	if p := w.nodes[w.burst.Node]; p.joined && w.hot(rng) {
		return p
	}
	var known []*process
	for _, p := range w.nodes {
		if p.joined || p.exists && w.plan.Seeds[p.index] == joinSeeds && rng.IntN(4) == 0 {
			known = append(known, p)
		}
	}
	if len(known) == 0 {
		return w.nodes[0]
	}
	return known[rng.IntN(len(known))]
}

// request brings an attempt to its node.
func (w *world) request(p *process, n int64) {
	a := w.attempts[n]
	if !p.up { // connection refused: it was not sent
		w.finish(a, &core.Result{Code: core.CodeStopped, Outcome: core.NotWritten})
		return
	}
	o := a.op
	a.gen, a.sent = p.gen, true
	r := &core.Request{
		Req: core.ReqID(n), Op: o.op, Key: o.key.key, Options: o.options,
		Deadline: w.mono(p) + o.timeout, Trace: traceOf(n),
	}
	if o.write != nil {
		r.Value = o.write.value
		if c := o.write.context; c != nil {
			r.Context, r.HasContext = c.clock, true
		}
	}
	w.input(p, w.shardOf(p, o.key.key), input{kind: inSubmit, req: r})
}

// answer takes a node's reply on its way to the client.
func (w *world) answer(p *process, r *core.Reply) {
	if r.Req == joinReq {
		w.trace.printf(w.now, "%v join: %v %s", p.id, r.Result.Code, r.Detail)
		return
	}
	if int(r.Req) >= len(w.attempts) || w.attempts[r.Req].node != p.index || w.attempts[r.Req].gen != p.gen {
		w.fail("reply", "%v answers request %d, which it never had", p.id, uint64(r.Req))
		return
	}
	a := w.attempts[r.Req]
	if a.answered {
		w.fail("reply", "%v answers request %d twice", p.id, uint64(r.Req))
		return
	}
	a.answered = true
	w.checkDurable(p, a.op, &r.Result)
	w.checkHeld(p, a.op, &r.Result)
	w.checkAvailable(p, a, &r.Result)
	if !w.healing && w.clientRng.IntN(100) == 0 { // the connection breaks
		w.report.Stats.RepliesLost++
		return
	}
	result := r.Result
	w.queue.push(event{at: w.now + drawTime(w.clientRng, 2*w.plan.Latency), kind: evReply, n: int64(r.Req), result: &result})
}

// expire ends an attempt whose client has waited long enough. A node that has
// been up all the time must have answered by the deadline.
func (w *world) expire(n int64) {
	a := w.attempts[n]
	if a.over {
		return
	}
	p := w.nodes[a.node]
	if a.sent && !a.answered && p.up && p.gen == a.gen && p.stalled < a.deadline-a.op.timeout {
		w.fail("deadline", "%v has not answered %v of %s, request %d, by its deadline", p.id, a.op.op, a.op.key.key, n)
	}
	w.finish(a, &core.Result{Code: core.CodeTimeout, Outcome: core.Unknown})
}

// disconnect tells the clients of a process that it is gone: half of them at
// once, the others when they have waited long enough.
func (w *world) disconnect(p *process) {
	for n := w.oldest; n < len(w.attempts); n++ {
		a := w.attempts[n]
		if a.over && n == w.oldest {
			w.oldest++
		}
		if !a.over && a.sent && a.node == p.index && !a.answered && w.clientRng.IntN(2) == 0 {
			w.finish(a, &core.Result{Code: core.CodeStopped, Outcome: core.Unknown})
		}
	}
}

// finish ends an attempt, and with it the operation unless it is tried again.
func (w *world) finish(a *attempt, r *core.Result) {
	if a.over {
		return
	}
	a.over = true
	o := a.op
	if o.write != nil {
		o.unsure = o.unsure || r.Outcome == core.Unknown
		if w.again(o, r) {
			w.report.Stats.Retries++
			w.try(o)
			return
		}
	}
	o.client.outstanding--
	w.report.Stats.result(o, r)
	if o.write == nil {
		w.history.gotten(o, r)
	} else {
		w.history.written(o, r)
	}
	w.next(o, r)
}

// again says whether a write is tried once more with the same write ID: one
// that may have been written.
func (w *world) again(o *operation, r *core.Result) bool {
	if r.Outcome == core.Written || !o.unsure || o.write.id.IsZero() || o.attempts >= maxAttempts || w.healing {
		return false
	}
	return o.client.rng.Float64() < w.plan.Retry
}

// next lets the client go on: after a read that was for modifying with its
// write at once, otherwise after a pause.
func (w *world) next(o *operation, r *core.Result) {
	c := o.client
	if o.final {
		return
	}
	found := r.Code == core.CodeOK || r.Code == core.CodeNotFound
	if o.modify && found && !w.healing {
		w.begin(c.put(w, o.key, c.last[o.key.index], c.rng.IntN(8) == 0))
		return
	}
	w.wakeClient(c, c.think())
}
