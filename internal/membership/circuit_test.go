package membership_test

import (
	"slices"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/breaker"
	"github.com/dynamo-kv/dynamo/internal/core"
)

// caller is the first node of a cluster of two, whose calls to n2 a test plays.
type caller struct {
	*node
	t      *testing.T
	probes int // sent to n2
}

func newCaller(t *testing.T) *caller {
	t.Helper()
	w, nodes := grown(t, 2)
	w.run(time.Minute) // n2 is well known
	c := &caller{node: nodes[0], t: t}
	w.sending = func(e *core.Envelope) {
		if e.From == "n1" && !e.Reply && e.Req.Slot() != core.MaxSlots-1 {
			c.probes++
		}
	}
	return c
}

// calls reports how calls ended that began in a generation.
func (c *caller) calls(generation, ok, failed uint32) {
	c.step(func(now core.Now, out *core.Out) {
		c.machine.Report(now, []core.PeerReport{{Peer: "n2", Calls: core.Calls{Generation: generation, OK: ok, Failed: failed}}}, out)
	})
}

func (c *caller) circuit() core.Circuit { return c.view.Peers[0].Circuit }

func (c *caller) want(s core.CircuitState) {
	c.t.Helper()
	if got := c.circuit().State; got != s {
		c.t.Fatalf("at %v the view says %v; want %v", c.world.now, got, s)
	}
	if got := c.machine.Status().Members[1].Circuit; got != c.circuit() {
		c.t.Errorf("the status says %+v, the view %+v", got, c.circuit())
	}
}

// open lets calls fail until the breaker opens.
func (c *caller) open() {
	c.t.Helper()
	c.calls(c.circuit().Generation, 0, 4)
	c.want(core.CircuitClosed)
	c.calls(c.circuit().Generation, 0, 1)
	c.want(core.CircuitOpen)
}

func TestBreakerOpensAndIsProbed(t *testing.T) {
	c := newCaller(t)
	c.calls(c.circuit().Generation, 0, 4)
	c.calls(c.circuit().Generation, 1, 4)
	c.want(core.CircuitClosed) // an answer came before the last four
	c.calls(c.circuit().Generation, 0, 1)
	c.want(core.CircuitOpen)
	c.world.run(29 * time.Second) // gossip is answered meanwhile, which is no probe
	c.want(core.CircuitOpen)
	c.world.run(2 * time.Second)
	c.want(core.CircuitClosed)
	if c.probes != 3 {
		t.Errorf("%d probes were sent; want 3", c.probes)
	}
	if got, want := c.machine.Status().Members[1].Changes, (core.CircuitChanges{Opened: 1, HalfOpened: 1, Closed: 1}); got != want {
		t.Errorf("changes %+v; want %+v", got, want)
	}
}

func TestBreakerOfASilentPeerStaysOpen(t *testing.T) {
	c := newCaller(t)
	c.open()
	c.world.setCut("n1:1", "n2:1", true)
	c.world.run(30*time.Second + time.Millisecond)
	c.want(core.CircuitHalfOpen)
	c.world.run(2 * time.Second) // which is how long the probes live
	c.want(core.CircuitOpen)
	c.world.run(2 * time.Minute)
	if got := c.machine.Status().Members[1].Changes; got.Closed != 0 || got.Opened < 4 {
		t.Errorf("changes %+v; want it to be tried every half a minute, in vain", got)
	}
	c.world.setCut("n1:1", "n2:1", false)
	c.world.run(35 * time.Second)
	c.want(core.CircuitClosed)
}

// One lost probe of three decides nothing: two answers are enough.
func TestLostProbeIsForgiven(t *testing.T) {
	c := newCaller(t)
	c.open()
	sending := c.world.sending
	network := c.world.network
	c.world.sending = func(e *core.Envelope) {
		sending(e)
		c.world.network = network
		if c.probes == 1 && e.Req.Slot() != core.MaxSlots-1 {
			c.world.network = func() (time.Duration, int) { return 0, 0 }
		}
	}
	c.world.run(31 * time.Second)
	c.want(core.CircuitClosed)
}

func TestProbeThatCannotBeSent(t *testing.T) {
	c := newCaller(t)
	c.open()
	c.world.nodes[1].crash()
	c.world.run(30*time.Second + 100*time.Millisecond)
	c.want(core.CircuitOpen) // again, before the probes could time out
	if got := c.machine.Status().Members[1].Changes; got.Opened != 2 {
		t.Errorf("changes %+v", got)
	}
}

func TestRestartedPeerBeginsWithAClosedBreaker(t *testing.T) {
	c := newCaller(t)
	c.open()
	before := c.circuit().Generation
	n2 := c.world.nodes[1]
	n2.crash()
	if err := n2.begin(); err != nil {
		t.Fatal(err)
	}
	c.world.run(time.Second)
	c.want(core.CircuitClosed)
	if want := []string{"n2:1"}; !slices.Equal(c.reached, want) {
		t.Errorf("reached %v; want %v: the transport may still wait for the process before", c.reached, want)
	}
	c.calls(before-1, 0, 5) // what the process before has not answered
	c.calls(before, 0, 5)
	c.want(core.CircuitClosed)
}

// A peer that is heard of again is tried at once, however long its breaker
// would have stayed open, and whoever listens there is dialled at once.
func TestReturnedPeerIsTriedAtOnce(t *testing.T) {
	c := newCaller(t)
	c.world.setCut("n1:1", "n2:1", true)
	c.world.run(20 * time.Second)
	if got := c.view.Peers[0].Status; got != core.Dead {
		t.Fatalf("n2 is %v after 20 s of silence; want it dead", got)
	}
	c.open()
	c.world.setCut("n1:1", "n2:1", false)
	c.world.run(5 * time.Second)
	c.want(core.CircuitClosed)
	if c.probes != 3 {
		t.Errorf("%d probes were sent; want 3", c.probes)
	}
	if want := []string{"n2:1"}; !slices.Equal(c.reached, want) {
		t.Errorf("reached %v; want %v", c.reached, want)
	}
}

func TestLateOutcomesDoNotCountForBreakers(t *testing.T) {
	c := newCaller(t)
	closed := c.circuit().Generation
	c.open()
	c.calls(closed, 100, 0)
	c.want(core.CircuitOpen)
	c.world.run(31 * time.Second)
	c.want(core.CircuitClosed)
	c.calls(closed, 0, 5)
	c.want(core.CircuitClosed)
}

// A node that has stood still blames nobody for what failed meanwhile.
func TestStalledNodeOpensNoBreaker(t *testing.T) {
	c := newCaller(t)
	c.stalled = c.world.now + 20*time.Second
	c.world.run(20*time.Second + 10*time.Millisecond)
	c.calls(c.circuit().Generation, 0, 5)
	c.want(core.CircuitClosed)
	c.world.run(5 * time.Second)
	c.calls(c.circuit().Generation, 0, 5)
	c.want(core.CircuitOpen)
}

func TestBreakerGoesByItsConfig(t *testing.T) {
	w, _ := grown(t, 1)
	cfg := config("n2")
	cfg.Seeds = addresses([]string{"n1"})
	cfg.Breaker = breaker.Config{Failures: 1, Reset: 5 * time.Second, Probes: 1, Successes: 1}
	if err := w.add(cfg).begin(); err != nil {
		t.Fatal(err)
	}
	off := config("n3")
	off.Seeds, off.Breaker = cfg.Seeds, breaker.Config{}
	if err := w.add(off).begin(); err != nil {
		t.Fatal(err)
	}
	w.run(10 * time.Second)
	probes := 0
	w.sending = func(e *core.Envelope) {
		if e.From == "n2" && !e.Reply && e.Req.Slot() != core.MaxSlots-1 && e.Req.Slot() > 0 {
			probes++
		}
	}
	fail := func(n *node, times uint32) core.CircuitState {
		n.step(func(now core.Now, out *core.Out) {
			n.machine.Report(now, []core.PeerReport{{Peer: "n1", Calls: core.Calls{Failed: times}}}, out)
		})
		return n.view.Peers[0].Circuit.State
	}
	if s := fail(w.nodes[2], 1000); s != core.CircuitClosed {
		t.Errorf("a breaker that is off is %v", s)
	}
	if s := fail(w.nodes[1], 1); s != core.CircuitOpen {
		t.Errorf("%v after one failure", s)
	}
	w.run(4900 * time.Millisecond)
	if s := w.nodes[1].view.Peers[0].Circuit.State; s != core.CircuitOpen {
		t.Errorf("%v before 5 s", s)
	}
	w.run(200 * time.Millisecond)
	if s := w.nodes[1].view.Peers[0].Circuit.State; s != core.CircuitClosed || probes != 1 {
		t.Errorf("%v after 5 s and %d probes; want one", s, probes)
	}
	bad := config("n4")
	bad.Breaker.Successes = bad.Breaker.Probes + 1
	if err := w.add(bad).begin(); err == nil {
		t.Error("more successes than probes are accepted")
	}
}
