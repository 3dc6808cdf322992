package client_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/propagation"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/client"
)

const (
	noOutcome  = dynamov1.WriteOutcome_WRITE_OUTCOME_UNSPECIFIED
	notWritten = dynamov1.WriteOutcome_WRITE_OUTCOME_NOT_WRITTEN
	unknown    = dynamov1.WriteOutcome_WRITE_OUTCOME_UNKNOWN
)

// patient is a configuration in which nothing comes of a slow machine.
func patient() *client.Config {
	cfg := client.DefaultConfig()
	cfg.Timeout, cfg.AttemptTimeout = time.Minute, time.Minute
	return cfg
}

// TestAttempts: what the first two owners answer, and how often each is asked
// for one put; the third one succeeds.
func TestAttempts(t *testing.T) {
	type node = func(*dynamov1.Request) *dynamov1.Reply
	for name, c := range map[string]struct {
		first, second node
		asked         [3]int
	}{
		"the first succeeds":              {succeeds, succeeds, [3]int{1, 0, 0}},
		"a connection breaks":             {breaks, succeeds, [3]int{1, 1, 0}},
		"two connections break":           {breaks, breaks, [3]int{1, 1, 1}},
		"one stops, one is not ready":     {fails(dynamov1.Reason_REASON_STOPPED, unknown), fails(dynamov1.Reason_REASON_NOT_READY, notWritten), [3]int{1, 1, 1}},
		"one cannot reach the others":     {fails(dynamov1.Reason_REASON_QUORUM, unknown), succeeds, [3]int{1, 1, 0}},
		"one is overloaded for two tries": {first(2, fails(dynamov1.Reason_REASON_OVERLOADED, notWritten), succeeds), silent, [3]int{3, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			fakes, cl := startFakes(t, patient(), c.first, c.second, succeeds)
			if _, err := cl.Put(t.Context(), key, []byte("v"), nil, client.Overwrite()); err != nil {
				t.Fatal(err)
			}
			var id []byte
			for i, f := range fakes {
				asked := f.puts()
				if len(asked) != c.asked[i] {
					t.Errorf("node %d was asked %d times, want %d", i+1, len(asked), c.asked[i])
				}
				for _, r := range asked {
					put := r.GetPut()
					if string(put.GetKey()) != key || string(put.GetValue()) != "v" || !put.GetOverwrite() || r.Timeout == 0 {
						t.Errorf("node %d was asked %v", i+1, r)
					}
					if id == nil {
						id = put.WriteId
					}
					if len(id) != 16 || !bytes.Equal(id, put.WriteId) {
						t.Errorf("the write IDs are %x and %x", id, put.WriteId)
					}
				}
			}
		})
	}
}

// TestQuorumsThatCannotBeMet: another owner is asked once, and not all there are.
func TestQuorumsThatCannotBeMet(t *testing.T) {
	answer := fails(dynamov1.Reason_REASON_QUORUM, notWritten)
	fakes, c := startFakes(t, patient(), answer, answer, answer, answer)
	if _, err := c.Put(t.Context(), key, nil, nil, client.Overwrite()); !errors.Is(err, client.ErrQuorum) {
		t.Error(err)
	}
	asked := 0
	for _, f := range fakes {
		asked += len(f.puts())
	}
	if asked != 2 {
		t.Errorf("%d nodes were asked; want two", asked)
	}
}

// TestOneDoesNotAnswer: then the next one is asked as well, for the same write.
func TestOneDoesNotAnswer(t *testing.T) {
	cfg := patient()
	cfg.AttemptTimeout = time.Millisecond
	asked := make(chan struct{})
	fakes, c := startFakes(t, cfg, func(*dynamov1.Request) *dynamov1.Reply {
		close(asked)
		return nil
	}, func(r *dynamov1.Request) *dynamov1.Reply {
		<-asked // the first one might not have had its request yet, and would get it no more
		return succeeds(r)
	})
	if _, err := c.Put(t.Context(), key, []byte("v"), nil, client.Overwrite()); err != nil {
		t.Fatal(err)
	}
	one, other := fakes[0].puts(), fakes[1].puts()
	if len(one) != 1 || len(other) != 1 || !bytes.Equal(one[0].GetPut().GetWriteId(), other[0].GetPut().GetWriteId()) {
		t.Errorf("they were asked %v and %v", one, other)
	}
}

// TestDeadlinesTravel: a node is told the time that its request has left, by the
// option, the configuration or the context, less what its answer needs.
func TestDeadlinesTravel(t *testing.T) {
	fakes, c := startFakes(t, patient(), succeeds)
	const short, margin = 10 * time.Second, 5 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	for i, test := range []struct {
		ctx     context.Context
		options []client.Option
		most    time.Duration
	}{
		{t.Context(), nil, patient().Timeout},
		{t.Context(), []client.Option{client.WithTimeout(short)}, short},
		{ctx, nil, short},
		{ctx, []client.Option{client.WithTimeout(time.Minute)}, short},
	} {
		if _, err := c.Get(test.ctx, key, test.options...); err != nil {
			t.Fatal(err)
		}
		if told := time.Duration(fakes[0].requests()[i].Timeout); told <= 0 || told > test.most-margin {
			t.Errorf("request %d is told %v; want what is left of %v, and less than that", i, told, test.most)
		}
	}
}

// TestWhatWasSentIsUnknown: a write that may have been carried out by the node whose
// connection broke is not said not to be written by what comes after that.
func TestWhatWasSentIsUnknown(t *testing.T) {
	fakes, c := startFakes(t, patient(), first(1, breaks, fails(dynamov1.Reason_REASON_INVALID_REQUEST, notWritten)))
	_, err := c.Put(t.Context(), key, nil, nil)
	if e, ok := errors.AsType[*client.Error](err); !ok || !errors.Is(err, client.ErrInvalidRequest) || e.Outcome != client.Unknown {
		t.Errorf("after a connection that broke: %#v", err)
	}
	if asked := len(fakes[0].requests()); asked != 2 {
		t.Errorf("the node was asked %d times", asked)
	}
	_, err = c.Put(t.Context(), key, nil, nil) // which is sent once
	if e, ok := errors.AsType[*client.Error](err); !ok || e.Outcome != client.NotWritten {
		t.Errorf("sent once, and refused: %#v", err)
	}
}

// TestFewAreAsked: a request that nobody answers goes to four nodes, and not to
// all there are.
func TestFewAreAsked(t *testing.T) {
	cfg := patient()
	cfg.AttemptTimeout = time.Millisecond
	fakes, c := startFakes(t, cfg, silent, silent, silent, silent, silent, silent)
	_, err := c.Put(t.Context(), key, nil, nil, client.WithTimeout(time.Second))
	if e, ok := errors.AsType[*client.Error](err); !ok || !errors.Is(err, client.ErrTimeout) || e.Outcome != client.Unknown {
		t.Errorf("%v", err)
	}
	asked := 0
	for _, f := range fakes {
		asked += len(f.requests())
	}
	if asked > 4 {
		t.Errorf("it has gone to %d nodes", asked)
	}
}

// TestFailures: what ends a request at once, and what its error says.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		reason  dynamov1.Reason
		outcome dynamov1.WriteOutcome
		kind    error
		want    client.Outcome
	}{
		{dynamov1.Reason_REASON_INVALID_REQUEST, notWritten, client.ErrInvalidRequest, client.NotWritten},
		{dynamov1.Reason_REASON_INVALID_CONTEXT, notWritten, client.ErrInvalidContext, client.NotWritten},
		{dynamov1.Reason_REASON_TOO_LARGE, notWritten, client.ErrTooLarge, client.NotWritten},
		{dynamov1.Reason_REASON_TOO_MANY_SIBLINGS, notWritten, client.ErrTooManySiblings, client.NotWritten},
		{dynamov1.Reason_REASON_SET_TOO_LARGE, notWritten, client.ErrTooManySiblings, client.NotWritten},
		{dynamov1.Reason_REASON_CLOCK_TOO_LONG, notWritten, client.ErrClockTooLong, client.NotWritten},
		{dynamov1.Reason_REASON_STORAGE_FULL, notWritten, client.ErrStorageFull, client.NotWritten},
		{dynamov1.Reason_REASON_STORAGE_FULL, unknown, client.ErrStorageFull, client.Unknown},
		{dynamov1.Reason_REASON_QUORUM, notWritten, client.ErrQuorum, client.NotWritten},
		{dynamov1.Reason_REASON_QUORUM, unknown, client.ErrQuorum, client.Unknown},
		{dynamov1.Reason_REASON_TIMEOUT, unknown, client.ErrTimeout, client.Unknown},
	} {
		t.Run(c.reason.String()+" "+c.outcome.String(), func(t *testing.T) {
			answer := fails(c.reason, c.outcome)
			_, cl := startFakes(t, patient(), answer, answer)
			var met client.QuorumMet
			_, err := cl.Put(t.Context(), key, nil, nil, client.ReportQuorum(&met))
			e, ok := errors.AsType[*client.Error](err)
			if !ok || !errors.Is(err, c.kind) || e.Outcome != c.want || e.Op != "put" {
				t.Fatalf("%v, outcome %q", err, e.Outcome)
			}
			if want := (client.QuorumMet{Replicas: 1, Hinted: 1, Required: 2}); met != want {
				t.Errorf("the quorum is %v, want %v", met, want)
			}
			q, ok := errors.AsType[*client.QuorumError](err)
			if counts := errors.Is(err, client.ErrQuorum) || errors.Is(err, client.ErrTimeout); ok != counts {
				t.Errorf("a quorum error: %v", q)
			} else if counts && (q.Acknowledged != 1 || q.Required != 2 || q.Outcome != c.want) {
				t.Errorf("a quorum error: %v", q)
			}
		})
	}
}

// TestTraces: a request belongs to the trace of its context's span, sampled or
// not, and to none without one.
func TestTraces(t *testing.T) {
	fakes, c := startFakes(t, patient(), succeeds)
	sampled, not := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	want := []string{"", sampled, not, ""} // the last one uses the memory of an earlier one
	for _, parent := range want {
		ctx := propagation.TraceContext{}.Extract(t.Context(), propagation.MapCarrier{"traceparent": parent})
		if _, err := c.Get(ctx, key); err != nil {
			t.Fatal(err)
		}
	}
	for i, r := range fakes[0].requests() {
		if r.Traceparent != want[i] || r.RequestId != "" {
			t.Errorf("request %d belongs to the trace %q and is called %q; want %q", i, r.Traceparent, r.RequestId, want[i])
		}
	}
}

// TestRequestIDs: a request's name goes to its node and into its error. Where it
// has none, the error has the one that the node has chosen.
func TestRequestIDs(t *testing.T) {
	refuses := func(r *dynamov1.Request) *dynamov1.Reply {
		f := &dynamov1.Failure{Reason: dynamov1.Reason_REASON_TOO_LARGE, Outcome: notWritten, RequestId: r.RequestId}
		if f.RequestId == "" {
			f.RequestId = "the-nodes"
		}
		return &dynamov1.Reply{Result: &dynamov1.Reply_Failure{Failure: f}}
	}
	brief := patient()
	brief.Timeout = 50 * time.Millisecond
	for name, c := range map[string]struct {
		cfg     *client.Config
		answer  func(*dynamov1.Request) *dynamov1.Reply
		options []client.Option
		want    string
	}{
		"refused":                       {patient(), refuses, []client.Option{client.WithRequestID("order-17")}, "order-17"},
		"refused, named by the node":    {patient(), refuses, nil, "the-nodes"},
		"no answer":                     {brief, silent, []client.Option{client.WithRequestID("order-17")}, "order-17"},
		"no answer, and nobody names":   {brief, silent, nil, ""},
		"no sense":                      {patient(), fails(1000, noOutcome), []client.Option{client.WithRequestID("order-17")}, "order-17"},
		"refused here":                  {patient(), refuses, []client.Option{client.WithRequestID("order-17"), client.BlockingRepair()}, "order-17"},
		"the name itself is no such":    {patient(), refuses, []client.Option{client.WithRequestID("order 17")}, ""},
		"the name itself is none":       {patient(), refuses, []client.Option{client.WithRequestID("")}, ""},
		"the name itself is too long":   {patient(), refuses, []client.Option{client.WithRequestID(strings.Repeat("x", 65))}, ""},
		"the name itself is just right": {patient(), refuses, []client.Option{client.WithRequestID(strings.Repeat("x", 64))}, strings.Repeat("x", 64)},
	} {
		t.Run(name, func(t *testing.T) {
			_, cl := startFakes(t, c.cfg, c.answer)
			_, err := cl.Put(t.Context(), key, nil, nil, c.options...)
			e, ok := errors.AsType[*client.Error](err)
			if !ok || e.RequestID != c.want || c.want != "" && !strings.HasSuffix(err.Error(), "(request "+c.want+")") {
				t.Errorf("%v; want the request ID %q", err, c.want)
			}
		})
	}
}

// TestRequestIDOfAFailureBefore: a request that ends while it waits for its next
// attempt has the name under which the latest one failed.
func TestRequestIDOfAFailureBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	overloaded := func(r *dynamov1.Request) *dynamov1.Reply {
		reply := fails(dynamov1.Reason_REASON_OVERLOADED, notWritten)(r)
		reply.GetFailure().RequestId = "the-nodes"
		return reply
	}
	again := func(*dynamov1.Request) *dynamov1.Reply {
		cancel()
		return nil
	}
	_, cl := startFakes(t, patient(), first(1, overloaded, again))
	_, err := cl.Put(ctx, key, nil, nil)
	if e, ok := errors.AsType[*client.Error](err); !ok || !errors.Is(err, context.Canceled) || e.RequestID != "the-nodes" {
		t.Errorf("%v; want the node's request ID", err)
	}
}

func TestRequestIDOfNothingFound(t *testing.T) {
	_, cl := startFakes(t, patient(), func(*dynamov1.Request) *dynamov1.Reply {
		return &dynamov1.Reply{Result: &dynamov1.Reply_Got{Got: &dynamov1.GetReply{}}}
	})
	_, err := cl.Get(t.Context(), key, client.WithRequestID("order-17"))
	if e, ok := errors.AsType[*client.Error](err); !ok || !errors.Is(err, client.ErrKeyNotFound) || e.RequestID != "order-17" {
		t.Errorf("%v; want the request ID order-17", err)
	}
}

// TestRepliesThatAreNone: a node that answers nonsense costs its request an
// error, and nothing else.
func TestRepliesThatAreNone(t *testing.T) {
	got := &dynamov1.Reply_Got{Got: &dynamov1.GetReply{Context: []byte("nonsense")}}
	written := &dynamov1.Reply_Written{Written: &dynamov1.WriteReply{Context: []byte("nonsense")}}
	for name, answer := range map[string]func(*dynamov1.Request) *dynamov1.Reply{
		"contexts": func(r *dynamov1.Request) *dynamov1.Reply {
			if r.GetGet() != nil {
				return &dynamov1.Reply{Result: got}
			}
			return &dynamov1.Reply{Result: written}
		},
		"answers of another kind": func(r *dynamov1.Request) *dynamov1.Reply {
			if r.GetGet() == nil {
				return &dynamov1.Reply{Result: got}
			}
			return &dynamov1.Reply{Result: written}
		},
		"an unknown reason": fails(1000, noOutcome),
	} {
		t.Run(name, func(t *testing.T) {
			_, c := startFakes(t, patient(), answer)
			if _, err := c.Get(t.Context(), key); err == nil {
				t.Error("a get succeeded")
			}
			_, err := c.Put(t.Context(), key, nil, nil)
			if e, ok := errors.AsType[*client.Error](err); !ok || e.Outcome != client.Unknown {
				t.Errorf("a put: %v", err)
			}
		})
	}
}

// TestNobodyAnswers: a request ends with its timeout or its context, and says
// what became of it.
func TestNobodyAnswers(t *testing.T) {
	_, c := startFakes(t, nil, silent)
	for timeout := 20 * time.Millisecond; ; timeout *= 2 { // until one is long enough for the put to be sent
		_, err := c.Put(t.Context(), key, nil, nil, client.WithTimeout(timeout))
		e, ok := errors.AsType[*client.Error](err)
		if !ok || !errors.Is(err, client.ErrTimeout) {
			t.Fatalf("a timeout of %v: %v", timeout, err)
		}
		if e.Outcome == client.Unknown {
			break
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Get(ctx, key); !errors.Is(err, client.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a context's deadline: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := c.Get(ctx, key); !errors.Is(err, context.Canceled) || errors.Is(err, client.ErrTimeout) {
		t.Errorf("a context that is cancelled: %v", err)
	}
	if _, err := c.Put(ctx, key, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that was cancelled before: %v", err)
	} else if e, ok := errors.AsType[*client.Error](err); !ok || e.Outcome != client.NotWritten {
		t.Errorf("a context that was cancelled before: outcome %q", e.Outcome)
	}
}

// TestOverloadEnds: who is overloaded is not asked for ever.
func TestOverloadEnds(t *testing.T) {
	fakes, c := startFakes(t, patient(), fails(dynamov1.Reason_REASON_OVERLOADED, notWritten))
	many := make(chan error)
	const callers = 200 // more than the budget
	for range callers {
		go func() {
			_, err := c.Put(t.Context(), key, nil, nil)
			many <- err
		}()
	}
	for range callers {
		err := <-many
		if e, ok := errors.AsType[*client.Error](err); !ok || !errors.Is(err, client.ErrOverloaded) || e.Outcome != client.NotWritten {
			t.Errorf("%v", err)
		}
	}
	if asked := len(fakes[0].requests()); asked == 0 || asked > 2*callers {
		t.Errorf("%d requests asked the node %d times", callers, asked)
	}
}

// TestHeldBack: what is sent to a node that turns everything away is held back,
// and ends as if the node had turned it away.
func TestHeldBack(t *testing.T) {
	fakes, c := startFakes(t, patient(), succeeds)
	c.Overload()
	_, err := c.Put(t.Context(), key, nil, nil)
	if e, ok := errors.AsType[*client.Error](err); !ok || !errors.Is(err, client.ErrOverloaded) || e.Outcome != client.NotWritten {
		t.Errorf("a put: %v", err)
	}
	if _, err = c.Get(t.Context(), key); !errors.Is(err, client.ErrOverloaded) {
		t.Errorf("a get: %v", err)
	}
	for i := range fakes {
		if asked := len(fakes[i].requests()); asked > 0 {
			t.Errorf("node %d was asked %d times", i, asked)
		}
	}
}

func TestClose(t *testing.T) {
	fakes, c := startFakes(t, patient(), silent)
	answered := make(chan error)
	go func() {
		_, err := c.Put(t.Context(), key, nil, nil)
		answered <- err
	}()
	await(t, "the node to be asked", func() bool { return len(fakes[0].requests()) > 0 })
	c.Close()
	if err := <-answered; !errors.Is(err, client.ErrClosed) {
		t.Errorf("a request under way: %v", err)
	}
	if _, err := c.Get(t.Context(), key); !errors.Is(err, client.ErrClosed) {
		t.Errorf("a request after Close: %v", err)
	}
	c.Close()
}

// TestSlowNodesArePassedOver: reads go to the first owner until it has shown
// that it is clearly slower, and then only to find out whether it still is.
func TestSlowNodesArePassedOver(t *testing.T) {
	slow := func(r *dynamov1.Request) *dynamov1.Reply {
		<-time.After(30 * time.Millisecond) // what makes it slow
		return succeeds(r)
	}
	fakes, c := startFakes(t, patient(), slow, succeeds)
	await(t, "reads to go to the other node", func() bool {
		before := len(fakes[1].requests())
		const reads = 20
		for range reads {
			if _, err := c.Get(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		return len(fakes[1].requests()) >= before+reads
	})
	before := len(fakes[0].requests())
	if _, err := c.Put(t.Context(), key, nil, nil, client.Overwrite()); err != nil {
		t.Fatal(err)
	}
	asked := fakes[0].requests()
	if len(asked) == before || asked[len(asked)-1].GetPut() == nil {
		t.Error("an overwrite did not go to the first owner")
	}
}

// TestStalledNodesComeBack: a node that has let a request wait, and was asked
// nothing since, is asked again by itself.
func TestStalledNodesComeBack(t *testing.T) {
	cfg := patient()
	cfg.AttemptTimeout = 50 * time.Millisecond
	fakes, c := startFakes(t, cfg, first(1, silent, succeeds), succeeds)
	await(t, "the node to be asked again", func() bool {
		if _, err := c.Get(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		return len(fakes[0].requests()) > 5
	})
	if len(fakes[1].requests()) == 0 {
		t.Error("nobody stood in for it")
	}
}

// TestRepetitionIsEarnedLater: a request that nobody answers, and that may not be
// repeated since too many are, is repeated as soon as others have earned it.
func TestRepetitionIsEarnedLater(t *testing.T) {
	cfg := patient()
	cfg.AttemptTimeout = 50 * time.Millisecond
	standsStill := func(r *dynamov1.Request) *dynamov1.Reply {
		if r.GetPut() != nil {
			return nil
		}
		return succeeds(r)
	}
	fakes, c := startFakes(t, cfg, standsStill, succeeds)
	c.Spend()
	ended := make(chan error, 1)
	go func() {
		_, err := c.Put(t.Context(), key, nil, nil, client.Overwrite())
		ended <- err
	}()
	fakes[0].await(1, isPut)
	await(t, "the node to be passed over", func() bool {
		c.Spend()
		if _, err := c.Get(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		return len(fakes[1].requests()) > 0
	})
	for range 10 { // one repetition is a tenth of the requests
		if _, err := c.Get(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestRepliesThatNobodyAskedFor are ignored: twice the same, and to requests
// that were never made.
func TestRepliesThatNobodyAskedFor(t *testing.T) {
	fakes, c := startFakes(t, patient(), succeeds)
	fakes[0].noise = []uint64{0, 1, 2, 3, 1 << 63}
	for range 20 {
		if r, err := c.Get(t.Context(), key); err != nil || string(r.Values[0].Data) != "v" {
			t.Fatalf("%v, %v", r, err)
		}
	}
}
