package dynamo

import (
	"context"
	"errors"
	"testing"
)

// A node that is gone is suspected, then dead, and alive as soon as it is back
// on another address.
func TestSubscribe(t *testing.T) {
	c := memoryConfig(2)
	nodes := startCluster(t, 2, c)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	changes, err := nodes[0].Subscribe(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := nodes[1].Stop(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for change := range changes {
		if change.Member != "n2" || change.Missed != 0 || change.Time.IsZero() {
			t.Fatalf("change %+v", change)
		}
		seen[change.To] = true
		if change.To == "dead" {
			break
		}
	}
	if !seen["dead"] {
		t.Fatalf("n2 is not dead; it was %v", seen)
	}
	if got := nodes[0].Status().Members[1].Status; got != "dead" {
		t.Errorf("the status says that n2 is %s", got)
	}
	c.Seeds = []string{nodes[0].Addr()}
	startNode(t, "n2", c)
	for change := range changes { // goes on where the other loop ended
		if change.From == "dead" && change.To == "alive" {
			return
		}
	}
	t.Error("n2 is back and not alive")
}

func TestSubscriptionEndsWithTheNode(t *testing.T) {
	n, err := NewNode("n1", "127.0.0.1:0", inDirectory(t, memoryConfig(1)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Subscribe(t.Context()); !errors.Is(err, ErrNotReady) {
		t.Errorf("before the start: %v", err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	changes, err := n.Subscribe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	for change := range changes {
		t.Errorf("a node alone: %+v", change)
	}
	if _, err := n.Subscribe(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("after the stop: %v", err)
	}
}
