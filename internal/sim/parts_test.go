package sim

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/core"
)

func TestQueueOrdersEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := eventQueue{seed: rapid.Uint64().Draw(t, "seed")}
		times := rapid.SliceOf(rapid.IntRange(0, 20)).Draw(t, "times")
		taken := 0
		for i, at := range times {
			q.push(event{at: time.Duration(at), n: int64(i)})
			if i%5 == 4 { // pops in between leave the order of the rest as it is
				q.pop()
				taken++
			}
		}
		var last event
		for n := 0; !q.empty(); n++ {
			e := q.pop()
			taken++
			if n > 0 && !last.before(&e) {
				t.Fatalf("event %d at %v came before event %d at %v", last.n, last.at, e.n, e.at)
			}
			last = e
		}
		if taken != len(times) {
			t.Fatalf("%d events of %d came out", taken, len(times))
		}
	})
}

// The tie-break is what makes two events at one time come in either order,
// depending on the seed.
func TestTiesDependOnTheSeed(t *testing.T) {
	first := make(map[int64]int)
	for seed := range uint64(64) {
		q := eventQueue{seed: seed}
		q.push(event{n: 1})
		q.push(event{n: 2})
		first[q.pop().n]++
	}
	if first[1] < 10 || first[2] < 10 {
		t.Errorf("of two events at one time, the first pushed came first %d times, the second %d times", first[1], first[2])
	}
}

// A torn batch is dropped whole, whatever part of it had reached the disk.
func TestTornTailIsDropped(t *testing.T) {
	torn := uint64(0)
	for seed := range uint64(200) {
		d := NewDisk()
		rng := rand.New(rand.NewPCG(seed, 0))
		for n := range 5 {
			batch := []core.Write{{Key: []byte("a"), Value: []byte{byte(n)}}, {Key: []byte("b"), Value: []byte{byte(n)}}, {Key: []byte{byte('c' + n)}, Value: []byte{1}}}
			if n == 3 {
				batch[2] = core.Write{Key: []byte("c"), Delete: true}
			}
			if _, err := d.Append(batch); err != nil {
				t.Fatal(err)
			}
			if n == 1 {
				d.Sync(d.Last())
			}
		}
		d.Crash(rng)
		if _, err := d.Get([]byte("a")); err == nil {
			t.Fatal("a disk without power can be read")
		}
		d.Recover()
		a, errA := d.Get([]byte("a"))
		b, errB := d.Get([]byte("b"))
		if errA != nil || errB != nil || a[0] != b[0] || a[0] < 1 {
			t.Fatalf("seed %d: %v and %v of one batch, after batch 1 was synced; errors %v, %v", seed, a, b, errA, errB)
		}
		if _, err := d.Get([]byte("c")); (err == nil) != (a[0] < 3) {
			t.Errorf("seed %d: batches up to %d survived, and what batch 3 deletes is there: %v", seed, a[0], err == nil)
		}
		torn += d.Stats().Torn
	}
	if torn == 0 {
		t.Error("no crash left a torn tail")
	}
}

func TestShrinkFindsTheFaultsThatMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plan := &Plan{}
		for i := range rapid.IntRange(1, 60).Draw(t, "faults") {
			plan.Faults = append(plan.Faults, Fault{Number: i})
		}
		guilty := rapid.SliceOfNDistinct(rapid.IntRange(0, len(plan.Faults)-1), 0, min(3, len(plan.Faults)), rapid.ID[int]).Draw(t, "guilty")
		runs := 0
		small := Shrink(plan, 400, func(p *Plan) bool {
			runs++
			for _, n := range guilty {
				if !slices.ContainsFunc(p.Faults, func(f Fault) bool { return f.Number == n }) {
					return false
				}
			}
			return true
		})
		if len(small.Faults) != len(guilty) || runs > 400 {
			t.Fatalf("%d faults matter; %d are left after %d runs", len(guilty), len(small.Faults), runs)
		}
	})
}

func TestPlansAreBusyAndTheSameEachTime(t *testing.T) {
	for seed := range uint64(200) {
		p, q := NewPlan(seed, time.Hour), NewPlan(seed, time.Hour)
		if p.String() != q.String() || !slices.Equal(p.Faults, q.Faults) || !slices.Equal(p.Bursts, q.Bursts) {
			t.Fatalf("seed %d has two plans", seed)
		}
		if len(p.Faults) < 20 || p.Keys > maxKeys || p.Clients < 4 || p.Nodes > maxNodes || p.Initial < 3 || p.R < 1 || p.W < 1 || p.R > p.N || p.W > p.N {
			t.Errorf("%v", p)
		}
		grow := 0
		for i, f := range p.Faults {
			grow += f.Count
			if i > 0 && f.At < p.Faults[i-1].At || f.Number != i || f.At < 0 || f.At > p.Length {
				t.Errorf("seed %d: fault %v is out of order", seed, f)
			}
		}
		first := p.Initial
		if p.Early {
			first = 1
		}
		if p.Still && p.kinds&^stillKinds != 0 {
			t.Errorf("seed %d has the kinds %b in a run where nobody ends", seed, p.kinds)
		}
		if first+grow != p.Nodes {
			t.Errorf("seed %d grows from %d by %d to %d nodes", seed, first, grow, p.Nodes)
		}
	}
}
