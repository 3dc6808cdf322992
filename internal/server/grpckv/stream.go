package grpckv

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/frame"
	"github.com/dynamo-kv/dynamo/internal/server"
)

// call is one request of a stream, from when it is begun until its reply is
// in a message.
type call struct {
	request core.Request
	observed
	of      *session
	id      uint64
	held    int64 // of the service's memory; of its session's too
	result  core.Result
	failure *failure // in place of a result
}

// turned is a request of a stream that was turned away before it was a call.
type turned struct {
	id uint64
	op core.Op
}

// session is one stream. Its handler receives; a goroutine of its own sends.
type session struct {
	service *service
	stream  grpc.ServerStream
	wake    chan struct{} // of capacity 1: there may be something to send
	room    chan struct{} // of capacity 1: fewer requests are under way than were
	held    atomic.Int64  // of the service's memory, by all calls

	mu       sync.Mutex // guards what follows
	finished []*call    // whose replies are to be sent
	turned   []turned   // likewise
	underWay int        // requests without a reply in a message
	ended    bool       // no more will be begun
	closed   bool       // nothing will be sent any more
}

// Stream answers many requests at a time.
func (s *service) Stream(stream grpc.BidiStreamingServer[dynamov1.Requests, dynamov1.Replies]) error {
	t := &session{
		service: s, stream: stream, wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	var sender sync.WaitGroup
	sender.Go(func() { t.send(ctx) })
	err := t.receive(ctx)
	if err != nil {
		cancel()
	}
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	signal(t.wake)
	sender.Wait()
	return err
}

// receive begins what comes until the client has no more or the stream ends.
func (t *session) receive(ctx context.Context) error {
	var d decoder
	for {
		var m frame.Message
		if err := t.stream.RecvMsg(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		err := t.beginAll(ctx, &d, m.Bytes())
		m.Free()
		if err != nil {
			return err
		}
	}
}

// beginAll begins the requests of one message.
func (t *session) beginAll(ctx context.Context, d *decoder, message []byte) error {
	defer d.clear()
	requests, err := d.decode(message)
	if err != nil {
		return status.Errorf(codes.InvalidArgument, "the message is no Requests that can be carried out: %v", err)
	}
	for _, r := range requests {
		if !t.admit(ctx) {
			return status.FromContextError(ctx.Err()).Err()
		}
		if op, key := target(r); op != 0 && t.service.backend.TurnsAway(op, key) {
			t.turnAway(r.Id, op)
			continue
		}
		t.begin(ctx, r)
	}
	return nil
}

// target returns what turning a request away needs to know of it, in the
// message's memory. An op of 0: it has none.
func target(r *dynamov1.Request) (op core.Op, key []byte) {
	switch op := r.Op.(type) {
	case *dynamov1.Request_Get:
		return core.OpGet, op.Get.Key
	case *dynamov1.Request_Put:
		return core.OpPut, op.Put.Key
	case *dynamov1.Request_Delete:
		return core.OpDelete, op.Delete.Key
	}
	return 0, nil
}

// admit waits until one more request may be under way, and counts it. False:
// the stream has ended.
func (t *session) admit(ctx context.Context) bool {
	for {
		t.mu.Lock()
		ok := t.underWay < maxUnderWay
		if ok {
			t.underWay++
		}
		t.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-t.room:
		case <-ctx.Done():
			return false
		}
	}
}

// begin checks and begins one request. It keeps nothing of its memory, which is
// the message's.
func (t *session) begin(ctx context.Context, r *dynamov1.Request) {
	c := &call{of: t, id: r.Id, observed: named(r.RequestId)}
	q := &c.request
	timeout, err := t.service.check(q, r)
	if err != nil {
		c.turnAway(refusal(q.Op, err))
		return
	}
	need := sizeOf(q)
	if !c.hold(need) {
		c.turnAway(failed(q.Op, overloaded()))
		return
	}
	own(q)
	t.service.watch(ctx, &c.observed, q, r.Traceparent)
	t.service.backend.Begin(q, timeout, c)
}

// own gives a request memory of its own for its key and value: the same for both
// where it is little, so that a key that is kept keeps no large value.
func own(q *core.Request) {
	if len(q.Value) > maxShared {
		q.Key, q.Value = bytes.Clone(q.Key), bytes.Clone(q.Value)
		return
	}
	n := len(q.Key)
	b := append(append(make([]byte, 0, n+len(q.Value)), q.Key...), q.Value...)
	q.Key, q.Value = b[:n:n], b[n:]
}

// hold takes memory for the call, and says whether there is some.
func (c *call) hold(n int64) bool {
	if !c.of.service.memory.take(c.of.held.Load(), n) {
		return false
	}
	c.of.held.Add(n)
	c.held += n
	return true
}

// turnAway ends a request that was not begun. What is left of it is for the log.
func (c *call) turnAway(f *failure) {
	q := &c.request
	q.Key, q.Value = bytes.Clone(q.Key[:min(len(q.Key), server.MaxLoggedPath)]), nil
	c.refuse(f)
}

// check parses a request, and returns the time that it has.
func (s *service) check(q *core.Request, r *dynamov1.Request) (time.Duration, error) {
	if err := s.parse(q, r); err != nil {
		return 0, err
	}
	return s.timeoutOf(r.Timeout)
}

func (s *service) parse(q *core.Request, r *dynamov1.Request) error {
	switch op := r.Op.(type) {
	case *dynamov1.Request_Get:
		return s.parseGet(q, op.Get)
	case *dynamov1.Request_Put:
		return s.parsePut(q, op.Put)
	case *dynamov1.Request_Delete:
		return s.parseDelete(q, op.Delete)
	}
	q.Op = core.OpGet // it wrote nothing
	return invalidf("the request has no operation that is known; get, put and delete are")
}

// Take implements core.Taker: it takes the result of the request.
func (c *call) Take(r core.Result) {
	q := &c.request
	c.ended(r)
	if r.Code != core.CodeOK && r.Code != core.CodeNotFound {
		c.refuse(failed(q.Op, r))
		return
	}
	if q.Op == core.OpGet {
		need := int64(0)
		for i := range r.Set.Versions {
			need += int64(len(r.Set.Versions[i].Data))
		}
		if !c.hold(need) {
			c.refuse(failed(q.Op, overloaded()))
			return
		}
	}
	q.Value = nil
	c.result = r
	c.of.finish(c)
}

func (c *call) refuse(f *failure) {
	f.RequestId = c.name()
	c.failure = f
	c.of.finish(c)
}

// finish queues the reply to a call.
func (t *session) finish(c *call) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		t.give(c.held)
		return
	}
	t.finished = append(t.finished, c)
	t.mu.Unlock()
	signal(t.wake)
}

// turnAway queues the reply to a request that was turned away as it came.
func (t *session) turnAway(id uint64, op core.Op) {
	t.mu.Lock()
	if !t.closed {
		t.turned = append(t.turned, turned{id, op})
	}
	t.mu.Unlock()
	signal(t.wake)
}

// send sends the replies until there will be no more, or ctx ends.
func (t *session) send(ctx context.Context) {
	defer t.close()
	e := encoder{overloaded: t.service.overloaded}
	var calls []*call
	var away []turned
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		}
		runtime.Gosched() // whoever is about to finish shall: see the package's documentation
		last := false
		calls, away, last = t.take(calls, away)
		t.log(ctx, calls)
		err := t.sendAll(&e, calls, away)
		t.release(calls, len(away))
		clear(calls)
		if last || err != nil {
			return
		}
	}
}

// take swaps what is finished and turned away for what is spare, and says
// whether it is the last.
func (t *session) take(spare []*call, spareTurned []turned) (calls []*call, away []turned, last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	calls, t.finished = t.finished, spare[:0]
	away, t.turned = t.turned, spareTurned[:0]
	return calls, away, t.ended && t.underWay == len(calls)+len(away)
}

// log logs how calls have ended. It is done here since those who finish a call
// must not wait.
func (t *session) log(ctx context.Context, calls []*call) {
	for _, c := range calls {
		if c.failure != nil {
			t.service.logFailure(ctx, &c.observed, &c.request, c.failure)
		} else {
			t.service.logDone(ctx, &c.observed, &c.request, c.result)
		}
	}
}

// sendAll sends the replies to these. With an error the stream has ended.
func (t *session) sendAll(e *encoder, calls []*call, away []turned) error {
	for len(calls)+len(away) > 0 {
		n, size := 0, 0
		for n < len(calls) && n < maxReplies && (n == 0 || size < maxReplyBytes) {
			size += int(calls[n].held)
			e.add(calls[n])
			n++
		}
		calls = calls[n:]
		for i := min(len(away), maxReplies-n); i > 0; i-- {
			e.addTurned(away[0])
			away = away[1:]
		}
		var m frame.Message
		e.encode(m.Alloc)
		if err := t.stream.SendMsg(&m); err != nil {
			return err
		}
	}
	return nil
}

// release gives back what calls held, and makes room for as many, and for those
// that were turned away.
func (t *session) release(calls []*call, away int) {
	held := int64(0)
	for _, c := range calls {
		held += c.held
	}
	t.give(held)
	t.mu.Lock()
	t.underWay -= len(calls) + away
	t.mu.Unlock()
	signal(t.room)
}

// give gives memory of the stream's calls back.
func (t *session) give(n int64) {
	t.held.Add(-n)
	t.service.memory.give(n)
}

// close drops what is finished, now and later: nobody will send it.
func (t *session) close() {
	t.mu.Lock()
	t.closed = true
	calls, away := t.finished, len(t.turned)
	t.finished, t.turned = nil, nil
	t.mu.Unlock()
	t.release(calls, away)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
