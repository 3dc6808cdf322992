package membership_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// TestAllConverge lets machines grow a cluster under loss, duplication,
// reordering, partitions, slow disks and crashes. Whatever happens, the
// harness's invariants hold: states move forward only, no phase ends before its
// time, nothing is told that could be forgotten. After the faults every node
// goes by one stable layout of all of them, within a bounded time.
func TestAllConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(rapid.Uint64().Draw(t, "seed"))
		size := rapid.IntRange(2, 6).Draw(t, "nodes")
		loss := rapid.SampledFrom([]float64{0, 0.1, 0.3}).Draw(t, "loss")
		w.spoil(loss)
		w.begin(t, 0)
		w.run(10 * time.Millisecond)
		for i := 1; i < size; i++ {
			w.add(config(nodeName(i)))
		}
		t.Repeat(map[string]func(*rapid.T){
			"":        func(t *rapid.T) { w.check(t) },
			"run":     func(t *rapid.T) { w.run(time.Duration(rapid.IntRange(1, 3000).Draw(t, "ms")) * time.Millisecond) },
			"start":   func(t *rapid.T) { w.begin(t, rapid.IntRange(0, size-1).Draw(t, "node")) },
			"crash":   func(t *rapid.T) { w.crash(rapid.IntRange(0, size-1).Draw(t, "node")) },
			"isolate": func(t *rapid.T) { w.isolate(rapid.IntRange(0, size-1).Draw(t, "node")) },
			"heal":    func(*rapid.T) { clear(w.cut) },
		})
		w.recover(t)
		w.checkConverged(t)
	})
}

func nodeName(i int) string { return "n" + string(rune('1'+i)) }

// spoil makes the network and the disks as bad as they get.
func (w *world) spoil(loss float64) {
	upTo := func(d time.Duration) func() time.Duration {
		return func() time.Duration { return 1 + time.Duration(w.rng.Int64N(int64(d))) }
	}
	delay := upTo(300 * time.Millisecond)
	w.network = func() (time.Duration, int) {
		switch {
		case w.rng.Float64() < loss:
			return delay(), 0
		case w.rng.Float64() < loss:
			return delay(), 2
		}
		return delay(), 1
	}
	w.disk = upTo(100 * time.Millisecond)
	w.shards = upTo(50 * time.Millisecond)
	w.copying = upTo(2 * time.Second)
}

// begin starts a node that is down. The first one forms the cluster; the
// others ask their two predecessors, or join at runtime.
func (w *world) begin(t *rapid.T, i int) {
	if i == len(w.nodes) {
		w.add(config(nodeName(i)))
	}
	n := w.nodes[i]
	if n.machine != nil {
		return
	}
	seeds := addresses([]string{nodeName(0), nodeName(max(0, i-1))})
	if i > 0 && i%3 != 0 {
		n.cfg.Seeds = seeds
	}
	if err := n.begin(); err != nil {
		t.Fatalf("%s does not start on its own disk: %v", n.cfg.Self, err)
	}
	if i > 0 && i%3 == 0 {
		n.join(seeds)
	}
}

func (n *node) join(seeds []string) {
	n.step(func(now core.Now, out *core.Out) {
		n.machine.Join(now, &core.Join{Req: 1, Seeds: seeds, Deadline: now.Mono + 10*time.Minute}, out)
	})
}

func (w *world) crash(i int) {
	if n := w.nodes[i]; n.machine != nil {
		n.crash()
	}
}

func (w *world) isolate(i int) {
	for j := range w.nodes {
		w.setCut(w.nodes[i].cfg.Addr, w.nodes[j].cfg.Addr, true)
	}
}

func (w *world) check(t *rapid.T) {
	if len(w.faults) > 0 {
		t.Fatalf("broken invariants:\n%s", strings.Join(w.faults, "\n"))
	}
}

// convergence bounds the time from the end of the faults to one layout: joins
// at the next round, LayoutDelay times the rank at the most for a plan, a few
// rounds a phase, and the whole again for those that the first plan left out.
const convergence = 2 * time.Minute

// recover ends the faults, starts every node and gives them their time.
func (w *world) recover(t *rapid.T) {
	clear(w.cut)
	for i := range w.nodes {
		w.begin(t, i)
	}
	for end := w.now + convergence; w.now < end && len(w.differences()) > 0; {
		w.run(time.Second)
	}
	w.check(t)
}

// checkConverged checks that the nodes agree, and go on to.
func (w *world) checkConverged(t *rapid.T) {
	for range 2 {
		if d := w.differences(); len(d) > 0 {
			t.Fatalf("at %v the nodes do not agree:\n%s", w.now, strings.Join(d, "\n"))
		}
		w.run(5 * time.Second)
		w.check(t)
	}
}

// differences lists what is not yet as it must be in the end: one cluster, one
// stable layout of all nodes, everybody known everywhere.
func (w *world) differences() (found []string) {
	differ := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	var want []ring.Member
	for _, n := range w.nodes {
		want = append(want, ring.Member{ID: n.cfg.Self, Weight: 1})
	}
	first := w.nodes[0].machine.Status()
	for _, n := range w.nodes {
		s := n.machine.Status()
		if len(s.Layouts.Live) == 0 {
			differ("%s waits for %q", s.Self, s.WaitsFor)
			continue
		}
		if s.Cluster != first.Cluster || s.Layouts.Stamp() != first.Layouts.Stamp() {
			differ("%s goes by %v of cluster %x, %s by %v of %x", s.Self, s.Layouts.Stamp(), s.Cluster, first.Self, first.Layouts.Stamp(), first.Cluster)
			continue
		}
		newest := s.Layouts.Live[len(s.Layouts.Live)-1]
		if s.Layouts.Phase != core.PhaseDone || !slices.Equal(newest.Members(), want) {
			differ("%s goes by a layout of %v, %v; want %v, stable", s.Self, newest.Members(), s.Layouts.Phase, want)
		}
		if !s.Serving || len(s.Members) != len(want) {
			differ("%s knows %d members, serving: %v, waits for %q", s.Self, len(s.Members), s.Serving, s.WaitsFor)
		}
	}
	return found
}

// TestSameSeedSameTrace plays one history twice and compares all that was sent.
func TestSameSeedSameTrace(t *testing.T) {
	trace := func() (lines []string) {
		w := newWorld(5)
		w.spoil(0.1)
		w.log = func(format string, args ...any) { lines = append(lines, w.line(format, args...)) }
		for i := range 4 {
			cfg := config(nodeName(i))
			if i > 0 {
				cfg.Seeds = addresses([]string{nodeName(0)})
			}
			if err := w.add(cfg).begin(); err != nil {
				t.Fatal(err)
			}
			w.run(400 * time.Millisecond)
		}
		w.run(10 * time.Second)
		for _, n := range w.nodes {
			lines = append(lines, w.line("%s sent %d", n.cfg.Self, n.sent))
		}
		return lines
	}
	first, second := trace(), trace()
	if !slices.Equal(first, second) {
		t.Errorf("two runs differ:\n%s\n\n%s", strings.Join(first, "\n"), strings.Join(second, "\n"))
	}
	if len(first) < 12 {
		t.Errorf("the trace has only %d lines", len(first))
	}
}
