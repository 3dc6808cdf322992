package grpckv

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/server"
)

// idle returns a session that neither receives nor sends.
func idle() *session {
	return &session{
		service: newService(Options{Limits: testLimits}), wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
}

// TestRoomOfAStream: as many requests as may be are under way, and no more until
// some have their replies; who waits for that does not outlive the stream.
func TestRoomOfAStream(t *testing.T) {
	s := idle()
	for range maxUnderWay {
		if !s.admit(t.Context()) {
			t.Fatal("there is no room")
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if s.admit(ended) {
		t.Errorf("%d requests are under way; want at most %d", s.underWay, maxUnderWay)
	}
	s.release(make([]*call, 0), 1)
	if !s.admit(t.Context()) || s.underWay != maxUnderWay {
		t.Errorf("%d requests are under way, after one has got its reply", s.underWay)
	}
}

// TestEndedStreamsHoldNothing: what calls hold is given back that have ended when
// their stream does, or end after it.
func TestEndedStreamsHoldNothing(t *testing.T) {
	s := idle()
	const size = 1000
	var calls [2]call
	for i := range calls {
		calls[i].of = s
		if !calls[i].hold(size) {
			t.Fatal("no memory")
		}
	}
	s.finish(&calls[0])
	if held := s.service.memory.held.Load(); held != 2*size {
		t.Fatalf("%d bytes are held", held)
	}
	s.close()
	if held := s.service.memory.held.Load(); held != size || s.held.Load() != size {
		t.Errorf("%d bytes are held, by the stream %d, when it has ended; want %d", held, s.held.Load(), size)
	}
	s.finish(&calls[1])
	if held := s.service.memory.held.Load(); held != 0 || s.held.Load() != 0 {
		t.Errorf("%d bytes are held, by the stream %d, when all has ended", held, s.held.Load())
	}
}

// TestMalformedMessagesDoNotWait: a stream ends with one at once, and not when all
// that is under way has ended.
func TestMalformedMessagesDoNotWait(t *testing.T) {
	f := &fake{result: found(dotted("v")), holds: true}
	kv, s := start(t, f)
	stream, err := kv.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	batch := &dynamov1.Requests{Requests: []*dynamov1.Request{put(1, "v")}}
	if err := stream.Send(batch); err != nil {
		t.Fatal(err)
	}
	for range maxRequests {
		batch.Requests = append(batch.Requests, get(2, "k"))
	}
	if err := stream.Send(batch); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("the stream ends with %v", err)
	}
	f.release()
	wantFree(t, s)
}

// TestTimeOfACall: a single call has its deadline less what its answer needs, no
// more than any request may, and without a deadline what the node gives.
func TestTimeOfACall(t *testing.T) {
	s := idle().service
	if got := s.within(t.Context()); got != testLimits.Timeout {
		t.Errorf("without a deadline it has %v", got)
	}
	for _, test := range []struct{ left, most time.Duration }{
		{time.Hour, server.MaxTimeout},
		{10 * time.Second, 10*time.Second - maxMargin},
		{10 * time.Millisecond, 9 * time.Millisecond},
		{-time.Second, 0},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), test.left)
		if got := s.within(ctx); got > test.most {
			t.Errorf("with %v left it has %v; want at most %v", test.left, got, test.most)
		}
		cancel()
	}
}
