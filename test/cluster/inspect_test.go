package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// inspected is what a node answers about its own copy of a key.
type inspected struct {
	Values []struct {
		Data        []byte            `json:"data"`
		VectorClock map[string]uint64 `json:"vector_clock"`
		IsTombstone bool              `json:"is_tombstone"`
		Dot         struct {
			Actor   string `json:"actor"`
			Counter uint64 `json:"counter"`
		} `json:"dot"`
	} `json:"values"`
	Error string `json:"error"`
}

// inspect returns the node's own copy.
func (p *process) inspect(key string) (got inspected) {
	p.t.Helper()
	body, err := json.Marshal(map[string]string{"key": key})
	if err != nil {
		p.t.Fatal(err)
	}
	a, err := p.do(http.MethodPost, "/rpc/get", body)
	if err != nil || a.code != http.StatusOK {
		p.t.Fatalf("/rpc/get of %s at %s: status %d, %v: %s", key, p.id, a.code, err, a.body)
	}
	if err := json.Unmarshal(a.body, &got); err != nil {
		p.t.Fatal(err)
	}
	return got
}

// TestLookingInside: each owner shows its own copy, whatever a quorum would
// say, and the metrics count the members.
func TestLookingInside(t *testing.T) {
	a, b, c := trio(t)
	nodes := []*process{a, b, c}
	put, err := a.do(http.MethodPut, "/v1/kv/cart?w=3", []byte("milk"))
	if err != nil || put.code != http.StatusNoContent {
		t.Fatalf("put: status %d, %v", put.code, err)
	}
	first := nodes[0].inspect("cart")
	if len(first.Values) != 1 || string(first.Values[0].Data) != "milk" || first.Values[0].VectorClock[first.Values[0].Dot.Actor] != 1 {
		t.Errorf("n1 holds %+v", first)
	}
	for _, p := range nodes[1:] {
		if diff := cmp.Diff(first, p.inspect("cart")); diff != "" {
			t.Errorf("%s holds another copy (-n1 +%s):\n%s", p.id, p.id, diff)
		}
	}
	if got := nodes[0].inspect("nothing"); len(got.Values) != 0 {
		t.Errorf("a key that does not exist has %+v", got)
	}
	metrics, err := c.do(http.MethodGet, "/metrics", nil)
	want := fmt.Sprintf("dynamo_cluster_members{status=%q} 3\n", "alive")
	if err != nil || metrics.code != http.StatusOK || !bytes.Contains(metrics.body, []byte(want)) {
		t.Errorf("metrics: status %d, %v, no %s in\n%s", metrics.code, err, want, metrics.body)
	}
}
