package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/frame"
)

// Why an attempt has no reply.
var (
	errFull    = errors.New("too many requests wait for the node")
	errDown    = errors.New("the node cannot be reached")
	errExpired = errors.New("its time was up before it was sent") // or nobody waits any more
	errBroken  = errors.New("the connection to the node has ended")
)

// Why a node is given up that was asked for a stream, and why there is no topology
// yet.
var (
	errSilent     = fmt.Errorf("no answer within %v", connectTimeout)
	errUnanswered = errors.New("none has answered yet")
)

// link is one connection to a node, with its one stream. Its goroutine
// connects, sends and receives with the help of a second one, from when the
// node is first used until the client is closed or the node is gone.
type link struct {
	client *Client
	node   *node
	wake   chan struct{} // of capacity 1: there is something to send

	mu      sync.Mutex // guards what follows
	queue   []*attempt // to be sent
	pending map[uint64]*attempt
	next    uint64 // the ID of the latest request in a message
	encoded uint64 // … in a message that is complete: only these have answers
	down    error  // why the node could not be reached when it was tried last

	state atomic.Int32 // a linkState, which only changes under mu
}

// linkState is what a link's node can be expected to do.
type linkState int32

const (
	linkNew    linkState = iota // it has not been tried yet: what is queued waits
	linkUp                      // it is connected
	linkDown                    // it could not be reached: nothing is queued
	linkClosed                  // it is not used any more
)

func newLink(c *Client, n *node) *link {
	return &link{client: c, node: n, wake: make(chan struct{}, 1), pending: map[uint64]*attempt{}}
}

// put queues an attempt, which will be answered, or says why not.
func (l *link) put(a *attempt) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.live():
		return l.down
	case len(l.queue) >= maxQueued:
		return errFull
	}
	l.queue = append(l.queue, a)
	signal(l.wake)
	return nil
}

// live says whether the node can be expected to answer.
func (l *link) live() bool {
	s := linkState(l.state.Load())
	return s == linkNew || s == linkUp
}

// run is the link's goroutine; it ends with ctx.
func (l *link) run(ctx context.Context) {
	defer l.fail(linkClosed, nil)
	rng := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	for attempts := 0; ctx.Err() == nil; {
		if attempts == 0 && !l.wanted(ctx) {
			return
		}
		err := l.serve(ctx)
		if linkState(l.state.Load()) == linkUp {
			attempts = 0
		}
		l.fail(linkDown, err)
		l.client.logger.Debug("the connection to a node has ended", "addr", l.node.addr, "error", err)
		attempts++
		pause, _ := reconnect().Delay(attempts, rng)
		if !sleep(ctx, pause) {
			return
		}
	}
}

// wanted waits until something is to be sent. False: the client is closed.
func (l *link) wanted(ctx context.Context) bool {
	select {
	case <-l.wake:
		signal(l.wake) // for whoever sends
		return true
	case <-ctx.Done():
		return false
	}
}

// serve connects, and sends and receives until the stream ends.
func (l *link) serve(ctx context.Context) error {
	conn, err := l.client.connect(l.node.addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := open(ctx, conn, cancel)
	if err != nil {
		return err
	}
	l.node.forget()
	l.up()
	var receiver sync.WaitGroup
	broken := make(chan error, 1)
	receiver.Go(func() {
		broken <- l.receive(stream)
		cancel()
	})
	l.send(ctx, stream)
	cancel()
	receiver.Wait()
	return <-broken
}

// open opens the stream. It has connectTimeout for it, after which cancel, which
// ends ctx, is called.
func open(ctx context.Context, conn *grpc.ClientConn, cancel func()) (grpc.ClientStream, error) {
	late := time.AfterFunc(connectTimeout, cancel)
	stream, err := dynamov1.NewKVClient(conn).Stream(ctx)
	if !late.Stop() {
		err = errSilent
	}
	return stream, err
}

func (l *link) up() {
	l.mu.Lock()
	l.state.Store(int32(linkUp))
	l.mu.Unlock()
}

// send sends what is queued until ctx ends or the stream does.
func (l *link) send(ctx context.Context, stream grpc.ClientStream) {
	var e encoder
	var batch []*attempt
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
		for more := true; more; {
			runtime.Gosched() // whoever is about to ask shall: see the package's documentation
			batch, more = l.take(&e, batch[:0])
			for _, a := range batch { // only those that are not sent
				a.answer(nil, errExpired)
			}
			clear(batch)
			if len(e.requests.Requests) == 0 {
				continue
			}
			var m frame.Message
			e.encode(m.Alloc)
			l.complete()
			if stream.SendMsg(&m) != nil {
				return // the receiver gets to know why
			}
		}
	}
}

// take adds the next message's requests to e, and returns those whose time was
// up, or for which nobody waits any more, in expired. It reports whether any are
// left.
func (l *link) take(e *encoder, expired []*attempt) (_ []*attempt, more bool) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	taken, size := 0, 0
	for _, a := range l.queue {
		if taken > 0 && (len(e.requests.Requests) >= maxRequests || size >= maxRequestBytes) {
			break
		}
		taken++
		left := a.of.deadline.Sub(now)
		if left <= 0 || a.of.gone.Load() {
			expired = append(expired, a)
			continue
		}
		a.sent = now
		size += a.of.size()
		l.next++
		l.pending[l.next] = a
		e.add(l.next, max(left-min(maxMargin, left/10), minTimeout), a.of)
	}
	n := copy(l.queue, l.queue[taken:])
	clear(l.queue[n:])
	l.queue = l.queue[:n]
	return expired, n > 0
}

// complete lets the requests of the latest message be answered. Before, their
// memory is being read: an answer, which would let it be used again, can only
// come of a node that makes IDs up.
func (l *link) complete() {
	l.mu.Lock()
	l.encoded = l.next
	l.mu.Unlock()
}

// receive answers attempts until the stream ends, and returns why it has.
func (l *link) receive(stream grpc.ClientStream) error {
	for {
		var m frame.Message
		if err := stream.RecvMsg(&m); err != nil {
			return err
		}
		var batch dynamov1.Replies
		err := batch.UnmarshalVT(m.Bytes())
		m.Free()
		if err != nil {
			return err
		}
		now := time.Now()
		for _, r := range batch.Replies {
			if a := l.found(r.Id); a != nil {
				l.node.took(now, now.Sub(a.sent))
				a.answer(r, nil)
			}
		}
	}
}

// found returns the attempt of that ID, which is not pending any more; nil
// where there is none.
func (l *link) found(id uint64) *attempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id > l.encoded {
		return nil
	}
	a := l.pending[id]
	delete(l.pending, id)
	return a
}

// fail answers everything that waits: the link is in state s from now on.
func (l *link) fail(s linkState, err error) {
	down, broken := l.because(errDown, err), l.because(errBroken, err)
	l.mu.Lock()
	queue, pending := l.queue, l.pending
	l.queue, l.pending = nil, map[uint64]*attempt{}
	l.down = down
	l.state.Store(int32(s))
	l.mu.Unlock()
	for _, a := range queue {
		a.answer(nil, down)
	}
	for _, a := range pending {
		a.answer(nil, broken)
	}
}

// because returns what happened to an attempt at the link's node, and why, where
// that is known.
func (l *link) because(what, why error) error {
	if why == nil {
		return fmt.Errorf("%w: %s", what, l.node.addr)
	}
	return fmt.Errorf("%w: %s: %s", what, l.node.addr, reason(why))
}

// answer ends the attempt.
func (a *attempt) answer(r *dynamov1.Reply, err error) {
	a.reply, a.err = r, err
	a.of.answers <- a
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// sleep waits, and says whether it did: not when ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
