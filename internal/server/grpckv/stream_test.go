package grpckv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/frame"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/server"
	"github.com/dynamo-kv/dynamo/internal/version"
)

func get(n uint64, key string) *dynamov1.Request {
	return &dynamov1.Request{Id: n, Op: &dynamov1.Request_Get{Get: &dynamov1.GetRequest{Key: []byte(key)}}}
}

func put(n uint64, value string) *dynamov1.Request {
	return &dynamov1.Request{Id: n, Op: &dynamov1.Request_Put{Put: &dynamov1.PutRequest{Key: []byte("k"), Value: []byte(value)}}}
}

// receiver collects the replies of a stream by their IDs.
func collect(t *testing.T, recv func() (*dynamov1.Replies, error), want int) map[uint64]*dynamov1.Reply {
	t.Helper()
	out := map[uint64]*dynamov1.Reply{}
	for len(out) < want {
		m, err := recv()
		if err != nil {
			t.Fatalf("after %d replies of %d: %v", len(out), want, err)
		}
		for _, r := range m.Replies {
			if out[r.Id] != nil {
				t.Fatalf("request %d was answered twice", r.Id)
			}
			out[r.Id] = r
		}
	}
	return out
}

func TestStream(t *testing.T) {
	f := &fake{result: found(dotted("a", "b")), holds: true}
	kv, s := start(t, f)
	stream, err := kv.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mixed := []*dynamov1.Request{
		get(1, "k"), put(2, "v"),
		{Id: 3, Op: &dynamov1.Request_Delete{Delete: &dynamov1.DeleteRequest{Key: []byte("k"), Overwrite: true}}},
		get(4, ""),
		{Id: 5},
		{Id: 6, Timeout: 1, Op: get(0, "k").Op},
		{Id: 7, Timeout: 1 << 63, Op: get(0, "k").Op},
		{Id: 8, Timeout: uint64(time.Second), Op: get(0, "k").Op},
	}
	if err := stream.Send(&dynamov1.Requests{Requests: mixed}); err != nil {
		t.Fatal(err)
	}
	// What is refused does not wait for what is under way.
	refused := collect(t, stream.Recv, 4)
	for _, n := range []uint64{4, 5, 6, 7} {
		if fail := refused[n].GetFailure(); fail.GetReason() != dynamov1.Reason_REASON_INVALID_REQUEST || fail.Outcome != 0 {
			t.Errorf("request %d: %v", n, refused[n])
		}
	}
	f.release()
	got := collect(t, stream.Recv, 4)
	if len(got[1].GetGot().GetValues()) != 2 || len(got[8].GetGot().GetValues()) != 2 ||
		got[2].GetWritten().GetReplicas() != 2 || len(got[3].GetWritten().GetContext()) == 0 {
		t.Errorf("the replies are %v", got)
	}
	if f.timeout != time.Second {
		t.Errorf("of a second it has %v", f.timeout)
	}
	f.result = core.Result{Code: core.CodeQuorum, Outcome: core.Unknown}
	if err := stream.Send(&dynamov1.Requests{Requests: []*dynamov1.Request{put(9, "v")}}); err != nil {
		t.Fatal(err)
	}
	if fail := collect(t, stream.Recv, 1)[9].GetFailure(); fail.GetReason() != dynamov1.Reason_REASON_QUORUM ||
		fail.Outcome != dynamov1.WriteOutcome_WRITE_OUTCOME_UNKNOWN {
		t.Errorf("a failure: %v", fail)
	}
	wantEnd(t, stream, nil)
	wantFree(t, s)
}

type ends interface {
	CloseSend() error
	Recv() (*dynamov1.Replies, error)
}

// wantEnd closes the sending side and waits for the stream's end.
func wantEnd(t *testing.T, stream ends, want error) {
	t.Helper()
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) || want != nil {
		t.Errorf("the stream ends with %v", err)
	}
}

// wantFree waits until no request holds memory.
func wantFree(t *testing.T, s *service) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for s.memory.held.Load() != 0 {
		if ctx.Err() != nil {
			t.Fatal("requests that have ended hold memory")
		}
		runtime.Gosched()
	}
}

// TestManyUnderWay: a stream takes no more than maxUnderWay requests until some
// are answered, and then all.
func TestManyUnderWay(t *testing.T) {
	f := &fake{result: found(dotted("v")), holds: true}
	kv, s := start(t, f)
	stream, err := kv.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const more = 100
	sent := make(chan error, 1)
	go func() {
		for n := range uint64(2) {
			var batch dynamov1.Requests
			for i := range []uint64{maxUnderWay, more}[n] {
				batch.Requests = append(batch.Requests, get(n*maxUnderWay+i, "k"))
			}
			if err := stream.Send(&batch); err != nil {
				sent <- err
				return
			}
		}
		sent <- stream.CloseSend()
	}()
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	for f.count() < maxUnderWay {
		runtime.Gosched()
	}
	f.release()
	collect(t, stream.Recv, maxUnderWay+more)
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ends with %v", err)
	}
	wantFree(t, s)
}

// TestNoMemory: requests and replies for which there is no memory are answered
// as overloaded; a write that was carried out never is.
func TestNoMemory(t *testing.T) {
	large := strings.Repeat("v", 1<<20)
	f := &fake{result: found(dotted(large))}
	kv, s := start(t, f)
	stream, err := kv.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !s.memory.take(0, maxBytes-1<<20) { // others hold it
		t.Fatal("no memory")
	}
	batch := []*dynamov1.Request{get(1, "k"), put(2, large), put(3, "small")}
	if err := stream.Send(&dynamov1.Requests{Requests: batch}); err != nil {
		t.Fatal(err)
	}
	got := collect(t, stream.Recv, 3)
	for n, outcome := range map[uint64]dynamov1.WriteOutcome{1: 0, 2: dynamov1.WriteOutcome_WRITE_OUTCOME_NOT_WRITTEN} {
		if fail := got[n].GetFailure(); fail.GetReason() != dynamov1.Reason_REASON_OVERLOADED || fail.Outcome != outcome {
			t.Errorf("request %d: %.100v", n, got[n])
		}
	}
	if got[3].GetWritten() == nil {
		t.Errorf("a small put: %.100v", got[3])
	}
	_, err = kv.Put(t.Context(), &dynamov1.PutRequest{Key: []byte("k"), Value: []byte(large)})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a single call: %v", err)
	}
	s.memory.give(maxBytes - 1<<20)
	wantEnd(t, stream, nil)
	wantFree(t, s)
}

// TestContextsTakeMemory: a context counts for as much as it takes, and not only the
// keys and values beside it.
func TestContextsTakeMemory(t *testing.T) {
	f := &fake{result: found(dotted("v"))}
	kv, s := start(t, f)
	seen := version.Clock{}
	for n := range uint64(id.MaxClockEntries) {
		seen = seen.With(version.Dot{Actor: version.Actor{Node: "n", Epoch: version.Epoch{Start: n + 1, Seq: 1}}, Counter: 1})
	}
	m := &dynamov1.PutRequest{Key: []byte("k"), Context: version.NewContext([]byte("k"), seen).AppendBinary(nil)}
	few := int64(len(m.Context)) // which is less than it takes when it is decoded
	if !s.memory.take(0, maxBytes-few) {
		t.Fatal("no memory")
	}
	if _, err := kv.Put(t.Context(), m); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a put with a context of %d entries, where %d bytes are left: %v", seen.Len(), few, err)
	}
	s.memory.give(maxBytes - few)
	if _, err := kv.Put(t.Context(), m); err != nil {
		t.Errorf("the same put, where there is memory: %v", err)
	}
	wantFree(t, s)
}

// TestClientsThatTakeNoReplies: they hold less than all of the memory, however
// many they are and however long they take, so that others are served.
func TestClientsThatTakeNoReplies(t *testing.T) {
	large := strings.Repeat("v", 1<<20)
	f := &fake{result: found(dotted(large))}
	kv, s := start(t, f)
	const gets = 2 * maxBytes >> 20 // for which there is no memory
	for n := range 3 {
		f.hold()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		stream, err := kv.Stream(ctx)
		if err != nil {
			t.Fatal(err)
		}
		batch := &dynamov1.Requests{}
		for i := range uint64(gets) {
			batch.Requests = append(batch.Requests, get(i, "k"))
		}
		if err := stream.Send(batch); err != nil {
			t.Fatal(err)
		}
		for f.count() < (n+1)*gets {
			runtime.Gosched()
		}
		f.release()
	}
	stream, err := kv.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&dynamov1.Requests{Requests: []*dynamov1.Request{get(1, "k"), put(2, large)}}); err != nil {
		t.Fatal(err)
	}
	got := collect(t, stream.Recv, 2)
	if got[1].GetGot() == nil || got[2].GetWritten() == nil {
		t.Errorf("another client gets %.100v", got)
	}
	if _, err := kv.Put(t.Context(), &dynamov1.PutRequest{Key: []byte("k"), Value: []byte(large)}); err != nil {
		t.Errorf("a single call: %v", err)
	}
	if held := s.memory.held.Load(); held < maxBytes/2 {
		t.Errorf("only %d bytes are held: nothing was tested", held)
	}
}

// TestClientGoesAway: what its requests held is free when they are answered.
func TestClientGoesAway(t *testing.T) {
	f := &fake{result: found(dotted("v")), holds: true}
	kv, s := start(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := kv.Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	batch := &dynamov1.Requests{}
	for i := range uint64(100) {
		batch.Requests = append(batch.Requests, put(i, "value"))
	}
	if err := stream.Send(batch); err != nil {
		t.Fatal(err)
	}
	for f.count() < len(batch.Requests) {
		runtime.Gosched()
	}
	cancel()
	if _, err := stream.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("the stream ends with %v", err)
	}
	f.release()
	wantFree(t, s)
}

// TestTooManyAtOnce: a message with more requests than can be under way ends its
// stream.
func TestTooManyAtOnce(t *testing.T) {
	f := &fake{result: found(dotted("v"))}
	kv, _ := start(t, f)
	stream, err := kv.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	batch := &dynamov1.Requests{}
	for i := range uint64(maxRequests + 1) {
		batch.Requests = append(batch.Requests, get(i, "k"))
	}
	if err := stream.Send(batch); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("the stream ends with %v", err)
	}
	if n := f.count(); n > 0 {
		t.Errorf("%d requests were begun", n)
	}
}

// wired is a stream that receives one message and keeps what is sent.
type wired struct {
	ctx     context.Context //nolint:containedctx // a stream has one
	message []byte
	replies []*dynamov1.Reply
}

func (w *wired) Context() context.Context     { return w.ctx }
func (w *wired) SetHeader(metadata.MD) error  { return nil }
func (w *wired) SendHeader(metadata.MD) error { return nil }
func (w *wired) SetTrailer(metadata.MD)       {}

func (w *wired) Recv() (*dynamov1.Requests, error) { return nil, errors.ErrUnsupported }
func (w *wired) Send(*dynamov1.Replies) error      { return errors.ErrUnsupported }

func (w *wired) RecvMsg(m any) error {
	if w.message == nil {
		return io.EOF
	}
	*m.(*frame.Message) = *frame.Of(w.message)
	w.message = nil
	return nil
}

func (w *wired) SendMsg(m any) error {
	var got dynamov1.Replies
	if err := got.UnmarshalVT(m.(*frame.Message).Bytes()); err != nil {
		return err
	}
	w.replies = append(w.replies, got.Replies...)
	return nil
}

// FuzzStream: whatever message comes in, its stream ends with an error or every
// request of it is answered, the backend sees only what is allowed, and no
// memory is kept.
func FuzzStream(f *testing.F) {
	f.Fuzz(func(t *testing.T, message []byte) {
		b := &fake{result: found(dotted("a", "b"))}
		s := newService(Options{Backend: b, Limits: testLimits, Logger: slog.New(slog.DiscardHandler)})
		var d decoder
		sent, err := d.decode(message)
		valid := err == nil
		w := &wired{ctx: t.Context(), message: append([]byte{}, message...)}
		err = s.Stream(w)
		if (err == nil) != valid {
			t.Fatalf("the stream ends with %v", err)
		}
		if valid && len(w.replies) != len(sent) {
			t.Fatalf("%d replies to %d requests", len(w.replies), len(sent))
		}
		for _, q := range b.asked {
			if err := testLimits.Check(q); err != nil {
				t.Fatalf("the backend was asked for what is not allowed: %v", err)
			}
		}
		if err := server.CheckTimeout(b.timeout); len(b.asked) > 0 && err != nil {
			t.Fatal(err)
		}
		if n := s.memory.held.Load(); n != 0 {
			t.Fatalf("%d bytes of memory are kept", n)
		}
	})
}

func TestCorpus(t *testing.T) {
	seeds, err := os.ReadDir(filepath.Join("testdata", "fuzz", "FuzzStream"))
	if err != nil || len(seeds) == 0 {
		t.Errorf("FuzzStream has no corpus: %v", err)
	}
}

// TestEncoderKeepsNothing: an encoder that is used again writes what a new one
// would.
func TestEncoderKeepsNothing(t *testing.T) {
	var used encoder
	for _, calls := range [][]*call{
		{{id: 1, request: core.Request{Op: core.OpGet, Key: []byte("k")}, result: found(dotted("a", "b", "c"))}},
		{
			{id: 2, request: core.Request{Op: core.OpPut, Key: []byte("k")}, result: found(dotted("x"))},
			{id: 3, failure: failed(core.OpPut, overloaded())},
			{id: 4, request: core.Request{Op: core.OpGet, Key: []byte("k")}, result: core.Result{Code: core.CodeNotFound}},
		},
		{{id: 5, request: core.Request{Op: core.OpGet, Key: []byte("k")}, result: found(dotted("d"))}},
	} {
		var fresh encoder
		var want, got frame.Message
		for _, c := range calls {
			used.add(c)
			fresh.add(c)
		}
		used.encode(got.Alloc)
		fresh.encode(want.Alloc)
		if string(got.Bytes()) != string(want.Bytes()) {
			t.Errorf("%s: %x, want %x", fmt.Sprint(calls[0].id), got.Bytes(), want.Bytes())
		}
	}
}
