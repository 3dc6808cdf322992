package grpckv

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/frame"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/server"
	"github.com/dynamo-kv/dynamo/internal/version"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testLimits = server.Limits{Replicas: 3, MaxValueBytes: 1 << 20, Timeout: 2 * time.Second}

// fake is a backend that answers what it is told, or keeps a request of a stream
// until it is released.
type fake struct {
	mu      sync.Mutex
	result  core.Result
	status  core.ClusterStatus
	changed chan struct{}
	asked   []*core.Request
	timeout time.Duration
	holds   bool
	held    []core.Taker
	full    map[string]bool // keys whose requests are turned away
	away    int             // so many were
}

func (f *fake) TurnsAway(_ core.Op, key []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full[string(key)] {
		f.away++
	}
	return f.full[string(key)]
}

func (f *fake) take(q *core.Request, timeout time.Duration) core.Result {
	f.asked, f.timeout = append(f.asked, q), timeout
	return f.result
}

func (f *fake) Do(_ context.Context, q *core.Request, timeout time.Duration) core.Result {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.take(q, timeout)
}

func (f *fake) Begin(q *core.Request, timeout time.Duration, to core.Taker) {
	f.mu.Lock()
	r := f.take(q, timeout)
	hold := f.holds
	if hold {
		f.held = append(f.held, to)
	}
	f.mu.Unlock()
	if !hold {
		to.Take(r)
	}
}

func (f *fake) Status() core.ClusterStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

func (f *fake) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// change sets the status, and tells those that wait.
func (f *fake) change(st core.ClusterStatus) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status = st
	close(f.changed)
	f.changed = make(chan struct{})
}

// count returns how many requests came so far.
func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

// hold keeps requests from now on.
func (f *fake) hold() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holds = true
}

// release answers what is held, the latest first, and holds nothing more.
func (f *fake) release() {
	f.mu.Lock()
	held, r := f.held, f.result
	f.held, f.holds = nil, false
	f.mu.Unlock()
	for i := range held {
		held[len(held)-1-i].Take(r)
	}
}

// start serves a backend and returns a client of the generated code, with
// protobuf's own codec.
func start(tb testing.TB, f *fake) (dynamov1.KVClient, *service) {
	tb.Helper()
	f.changed = make(chan struct{})
	var config net.ListenConfig
	ln, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := newService(Options{Backend: f, Limits: testLimits, Logger: slog.New(slog.DiscardHandler)})
	to := grpc.NewServer(grpc.ForceServerCodecV2(frame.Codec{}), grpc.WaitForHandlers(true), grpc.MaxRecvMsgSize(64<<20))
	dynamov1.RegisterKVServer(to, s)
	served := make(chan error, 1)
	go func() { served <- to.Serve(ln) }()
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = conn.Close()
		to.Stop()
		if err := <-served; err != nil {
			tb.Error(err)
		}
	})
	return dynamov1.NewKVClient(conn), s
}

// dotted returns a set of values, written blindly one after another.
func dotted(values ...string) version.Siblings {
	var s version.Siblings
	actor := version.Actor{Node: "n1", Epoch: version.Epoch{Start: 7, Seq: 1}}
	for i, v := range values {
		s, _ = s.Put(version.Clock{}, actor, version.Write{Timestamp: int64(i + 1), Data: []byte(v)})
	}
	return s
}

func found(s version.Siblings) core.Result {
	return core.Result{Code: core.CodeOK, Set: s, Context: s.Clock, Acknowledged: 2, Required: 2, Fallbacks: 1}
}

func TestCalls(t *testing.T) {
	f := &fake{result: found(dotted("a", "b"))}
	kv, _ := start(t, f)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	got, err := kv.Get(ctx, &dynamov1.GetRequest{Key: []byte("k"), R: 2, Quorum: dynamov1.QuorumKind_QUORUM_KIND_STRICT, BlockingRepair: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Values) != 2 || string(got.Values[0].Data) != "a" || string(got.Values[1].Data) != "b" ||
		got.Values[1].Timestamp != 2 || got.Replicas != 2 || got.Fallbacks != 1 || got.Required != 2 {
		t.Errorf("the reply is %v", got)
	}
	set := f.result.Set
	for i, v := range got.Values {
		if clock, _, err := version.DecodeClock(v.Clock); err != nil || clock.Compare(set.ClockOf(i)) != version.Equal {
			t.Errorf("the clock of value %d is %v, %v", i, clock, err)
		}
	}
	seen, err := version.DecodeContext(got.Context)
	if err != nil || seen.For([]byte("k")) != nil || seen.Clock.Compare(set.Clock) != version.Equal {
		t.Errorf("the context is %v, %v", seen, err)
	}
	q := f.asked[0]
	if q.Op != core.OpGet || q.Options.R != 2 || q.Options.Quorum != core.QuorumStrict || q.Options.Repair != core.RepairBlocking {
		t.Errorf("the request is %+v", q)
	}
	if f.timeout > 30*time.Second || f.timeout < 20*time.Second {
		t.Errorf("of 30 s it has %v", f.timeout)
	}
	id := bytes.Repeat([]byte{7}, 16)
	written, err := kv.Put(t.Context(), &dynamov1.PutRequest{
		Key: []byte("k"), Value: []byte("v"), Context: got.Context, W: 1, Quorum: dynamov1.QuorumKind_QUORUM_KIND_SLOPPY, WriteId: id,
	})
	if err != nil || written.Replicas != 2 || written.Hinted != 1 || written.Required != 2 || len(written.Context) == 0 {
		t.Fatalf("%v, %v", written, err)
	}
	q = f.asked[1]
	if q.Op != core.OpPut || string(q.Value) != "v" || !q.HasContext || q.Context.Compare(set.Clock) != version.Equal ||
		q.Options.W != 1 || q.Options.Quorum != core.QuorumSloppy || !bytes.Equal(q.Options.WriteID[:], id) {
		t.Errorf("the request is %+v", q)
	}
	if f.timeout != testLimits.Timeout {
		t.Errorf("without a deadline it has %v", f.timeout)
	}
	if _, err = kv.Delete(t.Context(), &dynamov1.DeleteRequest{Key: []byte("k"), Overwrite: true}); err != nil {
		t.Fatal(err)
	}
	if q = f.asked[2]; q.Op != core.OpDelete || !q.Options.Overwrite || q.HasContext {
		t.Errorf("the request is %+v", q)
	}
	f.result = core.Result{Code: core.CodeNotFound, Context: set.Clock}
	if got, err = kv.Get(t.Context(), &dynamov1.GetRequest{Key: []byte("k")}); err != nil || len(got.Values) != 0 || len(got.Context) == 0 {
		t.Errorf("a key that does not exist: %v, %v", got, err)
	}
}

// failureOf returns the details of a call's error.
func failureOf(t *testing.T, err error) (codes.Code, *dynamov1.Failure) {
	t.Helper()
	s, ok := status.FromError(err)
	if !ok || len(s.Details()) != 1 {
		t.Fatalf("%v has no details", err)
	}
	f, ok := s.Details()[0].(*dynamov1.Failure)
	if !ok || f.Message != s.Message() {
		t.Fatalf("%v has the details %v", err, s.Details())
	}
	return s.Code(), f
}

func TestStatuses(t *testing.T) {
	f := &fake{}
	kv, _ := start(t, f)
	for result, want := range map[core.Code]struct {
		code   codes.Code
		reason dynamov1.Reason
	}{
		core.CodeQuorum:          {codes.Unavailable, dynamov1.Reason_REASON_QUORUM},
		core.CodeTimeout:         {codes.DeadlineExceeded, dynamov1.Reason_REASON_TIMEOUT},
		core.CodeOverloaded:      {codes.ResourceExhausted, dynamov1.Reason_REASON_OVERLOADED},
		core.CodeTooManySiblings: {codes.FailedPrecondition, dynamov1.Reason_REASON_TOO_MANY_SIBLINGS},
		core.CodeSetTooLarge:     {codes.FailedPrecondition, dynamov1.Reason_REASON_SET_TOO_LARGE},
		core.CodeClockTooLong:    {codes.FailedPrecondition, dynamov1.Reason_REASON_CLOCK_TOO_LONG},
		core.CodeStorageFull:     {codes.ResourceExhausted, dynamov1.Reason_REASON_STORAGE_FULL},
		core.CodeNotReady:        {codes.Unavailable, dynamov1.Reason_REASON_NOT_READY},
		core.CodeStopped:         {codes.Unavailable, dynamov1.Reason_REASON_STOPPED},
		core.CodeRefused:         {codes.Internal, dynamov1.Reason_REASON_UNSPECIFIED},
	} {
		f.result = core.Result{Code: result, Outcome: core.Unknown, Acknowledged: 1, Required: 2}
		_, err := kv.Put(t.Context(), &dynamov1.PutRequest{Key: []byte("k")})
		code, detail := failureOf(t, err)
		if code != want.code || detail.Reason != want.reason || detail.Outcome != dynamov1.WriteOutcome_WRITE_OUTCOME_UNKNOWN ||
			detail.Replicas != 1 || detail.Required != 2 {
			t.Errorf("%v: %v, %v", result, code, detail)
		}
		_, err = kv.Get(t.Context(), &dynamov1.GetRequest{Key: []byte("k")})
		if code, detail = failureOf(t, err); code != want.code || detail.Outcome != 0 {
			t.Errorf("%v: %v, %v", result, code, detail)
		}
	}
}

func TestRefusals(t *testing.T) {
	f := &fake{}
	kv, _ := start(t, f)
	key := []byte("k")
	other := version.NewContext([]byte("other"), dotted("a").Clock).AppendBinary(nil)
	mine := version.NewContext(key, dotted("a").Clock).AppendBinary(nil)
	for name, c := range map[string]struct {
		put    *dynamov1.PutRequest
		reason dynamov1.Reason
	}{
		"no key":                {&dynamov1.PutRequest{}, dynamov1.Reason_REASON_INVALID_REQUEST},
		"a long key":            {&dynamov1.PutRequest{Key: make([]byte, id.MaxKeyBytes+1)}, dynamov1.Reason_REASON_TOO_LARGE},
		"a large value":         {&dynamov1.PutRequest{Key: key, Value: make([]byte, testLimits.MaxValueBytes+1)}, dynamov1.Reason_REASON_TOO_LARGE},
		"w above N":             {&dynamov1.PutRequest{Key: key, W: 4}, dynamov1.Reason_REASON_INVALID_REQUEST},
		"w far above N":         {&dynamov1.PutRequest{Key: key, W: 1<<32 - 1}, dynamov1.Reason_REASON_INVALID_REQUEST},
		"an unknown quorum":     {&dynamov1.PutRequest{Key: key, Quorum: 3}, dynamov1.Reason_REASON_INVALID_REQUEST},
		"a short write ID":      {&dynamov1.PutRequest{Key: key, WriteId: make([]byte, 15)}, dynamov1.Reason_REASON_INVALID_REQUEST},
		"a long write ID":       {&dynamov1.PutRequest{Key: key, WriteId: make([]byte, 17)}, dynamov1.Reason_REASON_INVALID_REQUEST},
		"a zero write ID":       {&dynamov1.PutRequest{Key: key, WriteId: make([]byte, 16)}, dynamov1.Reason_REASON_INVALID_REQUEST},
		"nonsense as a context": {&dynamov1.PutRequest{Key: key, Context: []byte("nonsense")}, dynamov1.Reason_REASON_INVALID_CONTEXT},
		"another key's context": {&dynamov1.PutRequest{Key: key, Context: other}, dynamov1.Reason_REASON_INVALID_CONTEXT},
		"context and overwrite": {&dynamov1.PutRequest{Key: key, Context: mine, Overwrite: true}, dynamov1.Reason_REASON_INVALID_REQUEST},
	} {
		_, err := kv.Put(t.Context(), c.put)
		code, detail := failureOf(t, err)
		if code != codes.InvalidArgument || detail.Reason != c.reason || detail.Outcome != dynamov1.WriteOutcome_WRITE_OUTCOME_NOT_WRITTEN {
			t.Errorf("%s: %v, %v", name, code, detail)
		}
	}
	_, err := kv.Delete(t.Context(), &dynamov1.DeleteRequest{Key: key})
	if code, detail := failureOf(t, err); code != codes.InvalidArgument || !strings.Contains(detail.Message, "a delete needs a context") {
		t.Errorf("a delete of what nobody has read: %v, %v", code, detail)
	}
	_, err = kv.Get(t.Context(), &dynamov1.GetRequest{Key: key, BlockingRepair: true, Quorum: dynamov1.QuorumKind_QUORUM_KIND_SLOPPY})
	if code, detail := failureOf(t, err); code != codes.InvalidArgument || detail.Outcome != 0 {
		t.Errorf("a blocking read of sloppy quorums: %v, %v", code, detail)
	}
	if n := f.count(); n > 0 {
		t.Errorf("the backend was asked %d times", n)
	}
}

// TestTopology: owners by partition, in order, and no member that has left.
func TestTopology(t *testing.T) {
	f := &fake{}
	kv, _ := start(t, f)
	if _, err := kv.Topology(t.Context(), &dynamov1.TopologyRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("a node without a layout: %v", err)
	}
	watch, err := kv.Watch(t.Context(), &dynamov1.TopologyRequest{})
	if err != nil {
		t.Fatal(err)
	}
	layout, err := ring.Form(8, 2, []ring.Member{{ID: "a", Weight: 1}, {ID: "b", Weight: 1}, {ID: "c", Weight: 1}})
	if err != nil {
		t.Fatal(err)
	}
	st := core.ClusterStatus{Self: "a", Cluster: 77, Layouts: core.LayoutState{Live: []*ring.Layout{layout}, Phase: core.PhaseDone}}
	for _, m := range []struct {
		id     id.Node
		state  core.State
		status core.Status
	}{{"a", core.Active, core.NoStatus}, {"b", core.Active, core.Suspected}, {"gone", core.Left, core.NoStatus}, {"c", core.Active, core.Dead}} {
		st.Members = append(st.Members, core.MemberStatus{
			Member: core.Member{ID: m.id, Addr: string(m.id) + ":1", Zone: "z", State: m.state}, Status: m.status,
		})
	}
	f.change(st)
	f.change(st) // nothing that a client would see
	st.Members = append(st.Members[:3:3], st.Members[3])
	st.Members[3].Status = core.Alive
	told, err := watch.Recv()
	if err != nil {
		t.Fatal(err)
	}
	f.change(st)
	again, err := watch.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if told.Cluster != 77 || told.Layout != 1 || told.Partitions != 8 || told.Replicas != 2 || told.Width != 2 || len(told.Nodes) != 3 {
		t.Fatalf("the topology is %v", told)
	}
	healths := []dynamov1.NodeHealth{
		dynamov1.NodeHealth_NODE_HEALTH_ALIVE, dynamov1.NodeHealth_NODE_HEALTH_SUSPECTED, dynamov1.NodeHealth_NODE_HEALTH_DEAD,
	}
	for i, n := range told.Nodes {
		if n.Id != string("abc"[i]) || n.Address != n.Id+":1" || n.Zone != "z" || n.Health != healths[i] {
			t.Errorf("node %d is %v", i, n)
		}
	}
	for p := range 8 {
		for i, owner := range layout.Owners(ring.Partition(p)) {
			if got := told.Nodes[told.Owners[p*2+i]].Id; got != string(owner) {
				t.Errorf("owner %d of partition %d is %s, want %s", i, p, got, owner)
			}
		}
	}
	if again.Nodes[2].Health != dynamov1.NodeHealth_NODE_HEALTH_ALIVE {
		t.Errorf("what has changed is told as %v", again)
	}
	single, err := kv.Topology(t.Context(), &dynamov1.TopologyRequest{})
	if err != nil || fmt.Sprint(single) != fmt.Sprint(again) {
		t.Errorf("%v, %v", single, err)
	}
}

// TestSameTopology: whatever changes the topology is seen, and what changes under
// load is not taken for it.
func TestSameTopology(t *testing.T) {
	members := []ring.Member{{ID: "a", Weight: 1}, {ID: "b", Weight: 1}, {ID: "c", Weight: 1}}
	layout, err := ring.Form(8, 2, members[:2])
	if err != nil {
		t.Fatal(err)
	}
	next, err := ring.Form(8, 2, members)
	if err != nil {
		t.Fatal(err)
	}
	base := func() core.ClusterStatus {
		st := core.ClusterStatus{Self: "a", Cluster: 77, Layouts: core.LayoutState{Live: []*ring.Layout{layout}, Phase: core.PhaseDone}}
		for _, m := range members {
			st.Members = append(st.Members, core.MemberStatus{
				Member: core.Member{ID: m.ID, Addr: string(m.ID) + ":1", Zone: "z", State: core.Active}, Status: core.Alive,
			})
		}
		return st
	}
	for name, c := range map[string]struct {
		same   bool
		change func(st *core.ClusterStatus)
	}{
		"nothing":          {true, func(*core.ClusterStatus) {}},
		"latencies":        {true, func(st *core.ClusterStatus) { st.Members[1].P99 = time.Second }},
		"a heartbeat":      {true, func(st *core.ClusterStatus) { st.Members[1].Heartbeat++ }},
		"hints":            {true, func(st *core.ClusterStatus) { st.Pulls, st.Leftovers = 3, 4 }},
		"leaving":          {true, func(st *core.ClusterStatus) { st.Members[1].State = core.Leaving }},
		"an address":       {false, func(st *core.ClusterStatus) { st.Members[1].Addr = "b:2" }},
		"a zone":           {false, func(st *core.ClusterStatus) { st.Members[1].Zone = "y" }},
		"a health":         {false, func(st *core.ClusterStatus) { st.Members[1].Status = core.Suspected }},
		"left":             {false, func(st *core.ClusterStatus) { st.Members[1].State = core.Left }},
		"one member less":  {false, func(st *core.ClusterStatus) { st.Members = st.Members[:2] }},
		"another cluster":  {false, func(st *core.ClusterStatus) { st.Cluster++ }},
		"another layout":   {false, func(st *core.ClusterStatus) { st.Layouts.Live = []*ring.Layout{next} }},
		"a layout to come": {false, func(st *core.ClusterStatus) { st.Layouts.Live = []*ring.Layout{next, layout} }},
		"a phase": {false, func(st *core.ClusterStatus) {
			st.Layouts.Live, st.Layouts.Phase = []*ring.Layout{layout, next}, core.PhaseMoved
		}},
	} {
		a, b := base(), base()
		if name == "a phase" {
			a.Layouts.Live = []*ring.Layout{layout, next}
		}
		c.change(&b)
		if sameTopology(&a, &b) != c.same {
			t.Errorf("%s: the topologies are the same: %v", name, !c.same)
		}
		if told := fmt.Sprint(topologyOf(a)) == fmt.Sprint(topologyOf(b)); c.same && !told {
			t.Errorf("%s changes the topology, and was not seen", name)
		}
	}
}
