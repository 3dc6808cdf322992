package server

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

func TestStatusBeforeThereIsACluster(t *testing.T) {
	f := &fake{status: core.ClusterStatus{Self: "n1", Replicas: 3, UnderReplicated: true, WaitsFor: "a seed to answer"}}
	w := call(t, f, "GET", "/v1/status", "")
	wantStatus(t, w, http.StatusOK)
	want := `{"node":"n1","cluster":"","serving":false,"waits_for":"a seed to answer","members":[],` +
		`"layout":{"version":0,"name":"","partitions":0,"replicas":3,"phase":"none"},"under_replicated":true,` +
		`"transition":{"pulls":0,"left":0},"leftovers":0,` +
		`"anti_entropy":{"trees_building":0,"pairs":0,"compared":0,"keys_repaired":0},` +
		`"hints":{"records":0,"bytes":0,"max_bytes":0,"pending":[],"stored":0,"delivered":0,"refused":0,"expired":0},` +
		`"read_repair":{"sent":0,"own":0,"dropped":0,"waited":0,"failed":0},` +
		`"forgetting":{"reaped":0,"pruned":0,"waiting":0,"cancelled":0},` +
		`"background":{"throttled":false,"slots":0,"max_slots":0,"held":0,"wanted":0,"bytes_per_second":0,"p99_ms":0,"threshold_ms":0}}` + "\n"
	if got := w.Body.String(); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	w = call(t, f, "GET", "/health", "")
	wantStatus(t, w, http.StatusServiceUnavailable)
	if got, want := w.Body.String(), `{"status":"waiting","node":"n1","waits_for":"a seed to answer"}`+"\n"; got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	if w.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestStatusOfACluster(t *testing.T) {
	f := &fake{status: core.ClusterStatus{
		Self: "n1", Cluster: 0xabc, Replicas: 3, Serving: true, Pulls: 5, PullsLeft: 2, Leftovers: 1, Blocking: []id.Node{"n2"},
		Trees:      core.TreeReport{Building: 2, Pairs: 10, Compared: 10, Since: 1_700_000_000 * time.Second, Repaired: 7},
		Forgetting: core.Forgetting{Reaped: 3, Pruned: 4, Waiting: 5, Cancelled: 6, Blocker: "n2", BlockedSince: 90 * time.Second},
		Members: []core.MemberStatus{
			{Member: core.Member{ID: "n1", Addr: "127.0.0.1:1", Zone: "a", Datacentre: "zrh", State: core.Active}, Status: core.Alive},
			{Member: core.Member{ID: "n2", Addr: "127.0.0.1:2", Zone: "b", State: core.Joining}, Status: core.Suspected, Circuit: core.Circuit{State: core.CircuitHalfOpen}},
		},
		Background: core.Background{
			Limited: true, Slots: 5, MaxSlots: 10, Held: 4, Wanted: 6, BytesPerSecond: 100,
			Target: 100 * time.Millisecond, P99: 120500 * time.Microsecond,
		},
		Layouts: core.LayoutState{Live: twoLayouts(t), Phase: core.PhaseCopy},
		Hints: core.HintReport{
			Bytes: 70, Limit: 100, Records: 3, Pending: []core.HintsPending{{Target: "n2", Keys: 3}},
			Stored: 9, Delivered: 6, Refused: 1, Expired: 2,
		},
	}}
	w := call(t, f, "GET", "/v1/status", "")
	wantStatus(t, w, http.StatusOK)
	var got statusJSON
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	wantBackground := backgroundJSON{
		Throttled: true, Slots: 5, MaxSlots: 10, Held: 4, Wanted: 6, BytesPerSecond: 100, P99: 120.5, Threshold: 100,
	}
	if got.Background != wantBackground {
		t.Errorf("background %+v, want %+v", got.Background, wantBackground)
	}
	if got.Cluster != "0000000000000abc" || got.Node != "n1" || got.UnderReplicated || !got.Serving {
		t.Errorf("status %+v", got)
	}
	l := got.Layout
	if l.Version != 2 || l.Partitions != 8 || l.Replicas != 1 || l.Phase != "copying" {
		t.Errorf("layout %+v", l)
	}
	if got.Transition.Pulls != 5 || got.Transition.Left != 2 || !slices.Equal(got.Transition.Blocked, []id.Node{"n2"}) || got.Leftovers != 1 {
		t.Errorf("transition %+v, leftovers %d", got.Transition, got.Leftovers)
	}
	trees := treesJSON{Building: 2, Pairs: 10, Compared: 10, Since: time.Unix(1_700_000_000, 0).UTC(), Repaired: 7}
	if got.AntiEntropy != trees {
		t.Errorf("anti-entropy %+v, want %+v", got.AntiEntropy, trees)
	}
	if h := got.Hints; h.Bytes != 70 || h.MaxBytes != 100 || h.Records != 3 || len(h.Pending) != 1 || h.Pending[0] != (pendingJSON{"n2", 3}) ||
		h.Stored != 9 || h.Delivered != 6 || h.Refused != 1 || h.Expired != 2 {
		t.Errorf("hints %+v", h)
	}
	since := time.Unix(90, 0).UTC()
	if f := got.Forgetting; f.Reaped != 3 || f.Pruned != 4 || f.Waiting != 5 || f.Cancelled != 6 || *f.BlockedBy != (blockerJSON{ID: "n2", Since: since}) {
		t.Errorf("forgetting %+v, blocked by %+v", f, f.BlockedBy)
	}
	want := memberJSON{ID: "n2", Address: "127.0.0.1:2", Zone: "b", Status: "suspected", State: "joining", Partitions: 4, Breaker: "half-open"}
	if got.Members[0].Breaker != "" {
		t.Errorf("a node has the breaker %s for itself", got.Members[0].Breaker)
	}
	if got.Members[0].Datacentre != "zrh" || got.Members[1] != want {
		t.Errorf("member %+v, want %+v", got.Members[1], want)
	}
	if got.Room != nil {
		t.Errorf("room %+v though nobody measures", got.Room)
	}
	w = call(t, f, "GET", "/health", "")
	wantStatus(t, w, http.StatusOK)
	if got, want := w.Body.String(), `{"status":"serving","node":"n1"}`+"\n"; got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

// A full node serves, and says what it is.
func TestStatusOfAFullNode(t *testing.T) {
	f := &fake{status: core.ClusterStatus{
		Self: "n1", Serving: true, Room: core.RoomStatus{Measured: true, State: core.RoomFull, Left: 5, Total: 100, Low: 20, Full: 10},
	}}
	var got statusJSON
	if err := json.Unmarshal(call(t, f, "GET", "/v1/status", "").Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if want := (roomJSON{State: "full", Free: 5, Total: 100, Low: 20, Full: 10}); got.Room == nil || *got.Room != want {
		t.Errorf("room %+v, want %+v", got.Room, want)
	}
	w := call(t, f, "GET", "/health", "")
	wantStatus(t, w, http.StatusOK)
	if got, want := w.Body.String(), `{"status":"serving","node":"n1","room":"full"}`+"\n"; got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

// twoLayouts returns the layouts of a cluster that grows from n1 to n1 and n2.
func twoLayouts(t *testing.T) []*ring.Layout {
	t.Helper()
	first, err := ring.Form(8, 1, []ring.Member{{ID: "n1", Zone: "a", Weight: 1}})
	if err != nil {
		t.Fatal(err)
	}
	second, err := first.Plan(2, []ring.Member{{ID: "n1", Zone: "a", Weight: 1}, {ID: "n2", Zone: "b", Weight: 1}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return []*ring.Layout{first, second}
}
