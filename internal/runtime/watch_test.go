package runtime

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

func idle() *Runtime {
	return &Runtime{stop: make(chan struct{}), logger: slog.New(slog.DiscardHandler)}
}

func suspected(n int) []core.StatusChange {
	changes := make([]core.StatusChange, n)
	for i := range changes {
		changes[i] = core.StatusChange{Peer: "n2", From: core.Alive, To: core.Suspected}
	}
	return changes
}

// A watcher that is too slow loses the oldest changes and hears how many; the
// node has not waited for it.
func TestWatchIsBounded(t *testing.T) {
	r := idle()
	w := r.Watch()
	r.tell(suspected(maxChanges))
	r.tell([]core.StatusChange{{Peer: "n3", From: core.Alive, To: core.Dead}, {Peer: "n4", From: core.Alive, To: core.Dead}})
	var last Change
	for i := range maxChanges {
		c, missed, ok := w.Next(t.Context())
		if want := map[int]int{0: 2}[i]; !ok || missed != want {
			t.Fatalf("change %d of %d: %v, %d missed; want %d", i, maxChanges, ok, missed, want)
		}
		last = c
	}
	if last.Peer != "n4" || last.Time.IsZero() {
		t.Errorf("the latest change is %+v; want that of n4", last)
	}
	r.tell(suspected(1))
	if _, missed, ok := w.Next(t.Context()); !ok || missed != 0 {
		t.Errorf("after that: %v, %d missed", ok, missed)
	}
}

// TestDeathsAreWarnedOf: at the level that a node logs at by default, its log says
// which peers are dead, and which of them are back. A suspicion comes and goes.
func TestDeathsAreWarnedOf(t *testing.T) {
	var log strings.Builder
	r := idle()
	r.logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	r.tell(suspected(1))
	r.tell([]core.StatusChange{{Peer: "n3", From: core.Suspected, To: core.Dead}, {Peer: "n3", From: core.Dead, To: core.Alive}})
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "peer=n3 from=suspected to=dead") || !strings.Contains(lines[1], "peer=n3 from=dead to=alive") {
		t.Errorf("the log has %q", lines)
	}
}

func TestWatchEndsWithTheNode(t *testing.T) {
	r := idle()
	w := r.Watch()
	r.tell(suspected(1))
	close(r.stop)
	if _, _, ok := w.Next(t.Context()); !ok {
		t.Error("what changed before the stop is lost")
	}
	if c, _, ok := w.Next(t.Context()); ok {
		t.Errorf("%+v after the node has stopped", c)
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	r := idle()
	w := r.Watch()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	if c, _, ok := w.Next(ctx); ok {
		t.Errorf("%+v of nothing", c)
	}
	r.tell(suspected(1))
	if _, _, ok := w.Next(ctx); ok {
		t.Error("a change after the end")
	}
}

func TestClosedWatchGetsNothing(t *testing.T) {
	r := idle()
	w, other := r.Watch(), r.Watch()
	w.Close()
	w.Close()
	r.tell(suspected(1))
	if c, _, ok := w.take(); ok {
		t.Errorf("%+v after Close", c)
	}
	if _, _, ok := other.take(); !ok {
		t.Error("the other watch lost a change")
	}
}
