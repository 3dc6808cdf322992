package sim_test

import (
	"slices"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// The rhythms are known after this long: a window of a hundred heartbeats.
const learnt = 110 * time.Second

// TestFailureDetection prints how soon failures are noticed, and how often
// those are suspected that have not failed, by the size of the cluster.
func TestFailureDetection(t *testing.T) {
	for _, size := range sizes(t) {
		s := newSwarm(t, size, 2)
		s.settle(t)
		s.run(learnt)
		toSuspected, toDead := s.killSome(t, min(5, size-2))
		t.Logf("%4d nodes, killed: suspected after %v (most %v), dead after %v (most %v)", size,
			median(toSuspected), slices.Max(toSuspected), median(toDead), slices.Max(toDead))

		watch := max(time.Minute, time.Hour*10/time.Duration(size)*10/time.Duration(size))
		for name, spoil := range map[string]func(){
			"nothing is wrong":     func() {},
			"5 % of messages lost": func() { s.loss = 0.05 },
			"pauses of 500 ms":     func() { s.pauses, s.pauseOf = 0.1, 500*time.Millisecond },
		} {
			s.loss, s.pauses = 0, 0
			spoil()
			s.run(10 * time.Second)
			suspected, dead := s.falsely(watch)
			hours := watch.Hours() * float64(size) * float64(size-1)
			t.Logf("%4d nodes, %s: %d times falsely suspected, %d times falsely dead in %v; a pair of nodes suspects every %.0f hours",
				size, name, suspected, dead, watch.Round(time.Second), hours/max(float64(suspected), 1))
			if dead > 0 {
				t.Errorf("%d nodes, %s: %d times dead that were not", size, name, dead)
			}
		}
	}
}

// killSome kills nodes one after another, and returns how long it took each of
// the others to notice. Each is started again, and found by all.
func (s *swarm) killSome(t *testing.T, kills int) (toSuspected, toDead []time.Duration) {
	t.Helper()
	for i := range kills {
		victim := s.nodes[1+i*(len(s.nodes)-1)/kills]
		killed := s.now
		s.changed = func(_ *swarmer, c core.StatusChange) {
			switch {
			case c.Peer != victim.cfg.Self:
			case c.To == core.Suspected:
				toSuspected = append(toSuspected, s.now-killed)
			case c.To == core.Dead:
				toDead = append(toDead, s.now-killed)
			}
		}
		s.kill(victim)
		s.run(40 * time.Second)
		if want := (i + 1) * (len(s.nodes) - 1); len(toDead) < want {
			t.Errorf("%d of %d nodes hold %s for dead 40 s after it was killed", len(toDead)-want+len(s.nodes)-1, len(s.nodes)-1, victim.cfg.Self)
		}
		s.changed = func(*swarmer, core.StatusChange) {}
		s.begin(t, victim)
		s.run(20 * time.Second)
		for _, n := range s.nodes {
			for _, m := range n.machine.Status().Members {
				if m.Status != core.Alive {
					t.Errorf("%s holds %s for %v 20 s after it was started again", n.cfg.Self, m.ID, m.Status)
				}
			}
		}
	}
	return toSuspected, toDead
}

// falsely counts the opinions that are wrong, while everybody runs.
func (s *swarm) falsely(watch time.Duration) (suspected, dead int) {
	s.changed = func(_ *swarmer, c core.StatusChange) {
		switch c.To {
		case core.Suspected:
			suspected++
		case core.Dead:
			dead++
		case core.Alive, core.NoStatus:
		}
	}
	s.run(watch)
	s.changed = func(*swarmer, core.StatusChange) {}
	return suspected, dead
}

func median(of []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2].Round(10 * time.Millisecond)
}
