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
// those are suspected that have not failed, by the size of the cluster. With
// -sim.scale an hour of ten nodes is watched, and as many pairs of nodes in larger
// clusters.
func TestFailureDetection(t *testing.T) {
	for _, size := range sizes(t, 3, 10) {
		s := newSwarm(t, size, 2)
		s.settle(t)
		s.run(learnt)
		for what, refuses := range []bool{false, true} {
			s.refuses = refuses
			toSuspected, toDead := s.killSome(t, max(1, min(5, size-2, 500/size)))
			t.Logf("%4d nodes, %s: suspected after %v (most %v), dead after %v (most %v)", size,
				[]string{"a machine without power", "a killed process"}[what], median(toSuspected), most(toSuspected), median(toDead), most(toDead))
		}
		s.spoilt(t, "nothing wrong", 0, 0)
		s.spoilt(t, "5 % of the messages lost", 0.05, 0)
		s.spoilt(t, "a pause of 500 ms in each tenth round of each process", 0, 0.1)
	}
}

// spoilt prints how many are suspected though all run.
func (s *swarm) spoilt(t *testing.T, what string, loss, pauses float64) {
	t.Helper()
	s.loss, s.pauses, s.pauseOf = loss, pauses, 500*time.Millisecond
	s.run(10 * time.Second)
	size := len(s.nodes)
	watch := min(time.Hour, max(time.Minute, time.Hour*100/time.Duration(size*size)))
	if *scaleFlag == "" {
		watch /= 6
	}
	suspected, dead := s.falsely(watch)
	t.Logf("%4d nodes, %s: in %v of the cluster, which are %.0f hours of one node watching one, %d times suspected, %d times dead",
		size, what, watch.Round(time.Second), watch.Hours()*float64(size*(size-1)), suspected, dead)
	if dead > 0 {
		t.Errorf("%d nodes, %s: %d times dead, and all run", size, what, dead)
	}
	s.loss, s.pauses = 0, 0
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

func most(of []time.Duration) time.Duration { return slices.Max(of).Round(10 * time.Millisecond) }

func median(of []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2].Round(10 * time.Millisecond)
}
