package grpckv

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/frame"
)

// call is one request of a stream, from when it is begun until its reply is
// in a message.
type call struct {
	request core.Request
	of      *session
	id      uint64
	held    int64 // of the service's memory
	result  core.Result
	failure *failure // in place of a result
}

// turned is a request of a stream that was turned away undecoded.
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
	var batch [][]byte
	for {
		var m frame.Message
		if err := t.stream.RecvMsg(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var err error
		if list, ok := split(batch[:0], m.Bytes()); ok {
			err = t.beginAll(ctx, list)
			clear(list)
			batch = list
		} else {
			err = t.beginDecoded(ctx, m.Bytes())
		}
		m.Free()
		if err != nil {
			return err
		}
	}
}

// beginAll begins encoded requests, or turns them away as they are.
func (t *session) beginAll(ctx context.Context, batch [][]byte) error {
	for _, one := range batch {
		if !t.admit(ctx) {
			return status.FromContextError(ctx.Err()).Err()
		}
		if p, ok := peek(one); ok && t.service.backend.TurnsAway(p.op, p.key) {
			t.turnAway(p)
			continue
		}
		r := new(dynamov1.Request)
		if err := r.UnmarshalVT(one); err != nil {
			return malformed(err)
		}
		t.begin(r)
	}
	return nil
}

// beginDecoded begins the requests of a message that cannot be split, or says
// what is wrong with it.
func (t *session) beginDecoded(ctx context.Context, message []byte) error {
	var batch dynamov1.Requests
	switch err := batch.UnmarshalVT(message); {
	case err != nil:
		return malformed(err)
	case len(batch.Requests) > maxRequests:
		return status.Errorf(codes.InvalidArgument, "the message has %d requests; at most %d are allowed", len(batch.Requests), maxRequests)
	}
	for _, r := range batch.Requests {
		if !t.admit(ctx) {
			return status.FromContextError(ctx.Err()).Err()
		}
		t.begin(r)
	}
	return nil
}

func malformed(err error) error {
	return status.Errorf(codes.InvalidArgument, "the message is no Requests: %v", err)
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

// begin checks and begins one request.
func (t *session) begin(r *dynamov1.Request) {
	c := &call{of: t, id: r.Id}
	q := &c.request
	err := t.service.parse(q, r)
	if err != nil {
		c.refuse(refusal(q.Op, err))
		return
	}
	timeout, err := t.service.timeoutOf(r.Timeout)
	if err != nil {
		c.refuse(refusal(q.Op, err))
		return
	}
	if need := sizeOf(q); t.service.memory.TryAcquire(need) {
		c.held = need
	} else {
		c.refuse(failed(q.Op, overloaded()))
		return
	}
	t.service.backend.Begin(q, timeout, c.done)
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

// done takes the result of a request. It may be called by any goroutine.
func (c *call) done(r core.Result) {
	q := &c.request
	if r.Code != core.CodeOK && r.Code != core.CodeNotFound {
		c.refuse(failed(q.Op, r))
		return
	}
	if q.Op == core.OpGet {
		need := int64(0)
		for i := range r.Set.Versions {
			need += int64(len(r.Set.Versions[i].Data))
		}
		if !c.of.service.memory.TryAcquire(need) {
			c.refuse(failed(q.Op, overloaded()))
			return
		}
		c.held += need
	}
	q.Value = nil
	c.result = r
	c.of.finish(c)
}

func (c *call) refuse(f *failure) {
	c.failure = f
	c.of.finish(c)
}

// finish queues the reply to a call.
func (t *session) finish(c *call) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		t.service.memory.Release(c.held)
		return
	}
	t.finished = append(t.finished, c)
	t.mu.Unlock()
	signal(t.wake)
}

// turnAway queues the reply to a request that was turned away.
func (t *session) turnAway(p peeked) {
	t.mu.Lock()
	if !t.closed {
		t.turned = append(t.turned, turned{p.id, p.op})
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
		err := t.sendAll(&e, calls, away)
		t.release(calls, len(away))
		clear(calls)
		if last || err != nil {
			return
		}
	}
}

// take swaps what is finished and turned away for what is spare, and says whether
// it is the last.
func (t *session) take(spare []*call, spareTurned []turned) (calls []*call, away []turned, last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	calls, t.finished = t.finished, spare[:0]
	away, t.turned = t.turned, spareTurned[:0]
	return calls, away, t.ended && t.underWay == len(calls)+len(away)
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
	t.service.memory.Release(held)
	t.mu.Lock()
	t.underWay -= len(calls) + away
	t.mu.Unlock()
	signal(t.room)
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
