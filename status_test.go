package dynamo

import (
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

func TestStatusShowsBreakers(t *testing.T) {
	st := core.ClusterStatus{Self: "n1", Members: []core.MemberStatus{
		{Member: core.Member{ID: "n1"}}, {Member: core.Member{ID: "n2"}, Circuit: core.Circuit{State: core.CircuitOpen}},
	}}
	if got := statusOf(st).Members; got[0].Breaker != "" || got[1].Breaker != "open" {
		t.Errorf("members %+v", got)
	}
}

func TestStatusShowsBackgroundWork(t *testing.T) {
	st := core.ClusterStatus{Background: core.Background{
		Limited: true, Slots: 2, MaxSlots: 10, Held: 1, Wanted: 3, BytesPerSecond: 4, P99: time.Second,
	}}
	want := Background{Throttled: true, Slots: 2, Held: 1, Wanted: 3, BytesPerSecond: 4, P99: time.Second}
	if got := statusOf(st).Background; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestStatusShowsTheRoom(t *testing.T) {
	st := core.ClusterStatus{Room: core.RoomStatus{Measured: true, State: core.RoomLow, Left: 1, Total: 2, Low: 3, Full: 4}}
	want := Room{State: "low", Free: 1, Total: 2, LowAt: 3, FullAt: 4}
	if got := statusOf(st).Room; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := statusOf(core.ClusterStatus{}).Room; got != (Room{}) {
		t.Errorf("got %+v where nobody measures", got)
	}
}

func TestStatusShowsForgetting(t *testing.T) {
	st := core.ClusterStatus{Forgetting: core.Forgetting{Reaped: 1, Pruned: 2, Waiting: 3}}
	if got, want := statusOf(st).Forgetting, (Forgetting{Reaped: 1, Pruned: 2, Waiting: 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	st.Forgetting.Blocker, st.Forgetting.BlockedSince = "n2", 90*time.Second
	if got := statusOf(st).Forgetting; got.BlockedBy != "n2" || got.BlockedSince.Unix() != 90 {
		t.Errorf("got %+v", got)
	}
}
