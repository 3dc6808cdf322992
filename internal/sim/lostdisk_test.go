package sim

import (
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// diskScenario is a run of three nodes of which the third loses its disk.
type diskScenario struct {
	name    string
	bug     bug.Bug // that switches the rule off, if there is one
	checker string  // that complains then
	faults  []Fault
	want    func(s *LossStats) bool // what must have happened
}

const thirdNode = 1 << 2

func diskScenarios() []diskScenario {
	return []diskScenario{
		{ // A copy is put back that misses what was minted since; it mints on before
			// others tell it what it has forgotten.
			name: "restored-disk-mints", bug: bug.ContinueEpoch, checker: "equal dots",
			faults: []Fault{
				{At: 4 * time.Minute, For: time.Second, Kind: Restore, Nodes: thirdNode, By: 20 * time.Second},
				{At: 4*time.Minute + time.Second, For: 20 * time.Second, Kind: Isolate, Nodes: thirdNode},
				{At: 8 * time.Minute, For: time.Second, Kind: Restore, Nodes: thirdNode, By: time.Minute},
			},
			want: func(s *LossStats) bool { return s.Young == 2 && s.SetAside == 0 && s.Mints > 0 },
		},
		{ // A copy is put back from before what has been forgotten since.
			name: "reap-then-restore", bug: bug.ServeOldDisk, checker: "old disk",
			faults: []Fault{{At: 11 * time.Minute, For: time.Second, Kind: Restore, Nodes: thirdNode, By: id.MaxDiskAge + time.Minute}},
			want:   func(s *LossStats) bool { return s.Old == 1 && s.Doubted == 1 && s.SetAside == 1 },
		},
		{ // … and its node hears for a minute nothing but clients.
			name: "set-aside-too-much", bug: bug.ServeBeforeWord, checker: "set aside",
			faults: []Fault{
				{At: 11 * time.Minute, For: 5 * time.Second, Kind: Restore, Nodes: thirdNode, By: id.MaxDiskAge + time.Minute},
				{At: 11*time.Minute + time.Second, For: time.Minute, Kind: Isolate, Nodes: thirdNode},
			},
			want: func(s *LossStats) bool { return s.Old == 1 && s.Doubted == 1 && s.SetAside == 1 },
		},
		{ // The directory is gone: the others give everything back.
			name:   "wiped-disk",
			faults: []Fault{{At: 8 * time.Minute, For: time.Second, Kind: Wipe, Nodes: thirdNode}},
			want:   func(s *LossStats) bool { return s.Wiped == 1 && s.Mints > 0 },
		},
	}
}

// run plays the scenario for a quarter of an hour in which clients are always
// busy, with W=1: what one node has acknowledged may be nowhere else.
func (s diskScenario) run() *Report {
	p := NewPlan(1, 15*time.Minute)
	p.Initial, p.Nodes, p.N, p.R, p.W = 3, 3, 3, 1, 1
	p.Strict, p.Still, p.Vary, p.Early, p.Warmup = false, false, false, false, time.Minute
	p.AntiEntropy, p.Noise = 30*time.Second, Fault{}
	p.HintBytes, p.Gossip = ampleHints, time.Second
	p.Keys = min(p.Keys, 10)
	p.Bursts = []Burst{{For: p.Length}}
	p.Faults = s.faults
	return Run(p, nil)
}

// TestDiskScenarios: nodes that lose their disks lose nothing that others have.
func TestDiskScenarios(t *testing.T) {
	for _, s := range diskScenarios() {
		t.Run(s.name, func(t *testing.T) {
			r := s.run()
			for _, v := range r.Violations {
				t.Error(v)
			}
			if !s.want(&r.Stats.Losses) {
				t.Errorf("what happened to disks: %v", &r.Stats.Losses)
			}
		})
	}
}

// What was on lost disks alone may be gone; nothing else may.
func TestLossesAreExact(t *testing.T) {
	for _, c := range []struct {
		name     string
		loses    []int // indexes of the nodes that lose their disks, of three
		holders  []int
		required int
		want     []string // checkers that complain
	}{
		{"one of two holders", []int{0}, []int{0, 1}, 1, []string{"lost write"}},
		{"the only holder", []int{0}, []int{0}, 1, nil},
		{"somebody else", []int{1}, []int{0}, 1, []string{"lost write"}},
		{"all holders, where a minority may lose disks", []int{0, 1}, []int{0, 1}, 2, []string{"lost write"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStory(t)
			s.w.plan.R = 1 // no quorum is to overlap
			o, set, dot := s.put(version.Siblings{}, nil)
			o.write.required = c.required
			o.strict = false
			s.acked(o, dot)
			for _, i := range c.holders {
				s.w.nodes[i].durable[s.k.index] = set
			}
			for _, i := range c.loses {
				s.w.replaceDisk(s.w.nodes[i], nil)
			}
			s.w.checkKey(s.layout, s.k, nil)
			s.expect(c.want...)
		})
	}
}

// A write that is on a disk again is not lost, and its quorum counts again when
// all owners have it.
func TestShakenUntilAllOwnersHaveIt(t *testing.T) {
	s := newStory(t)
	o, set, dot := s.put(version.Siblings{}, nil)
	o.strict = true
	s.acked(o, dot)
	first, second := s.w.nodes[0], s.w.nodes[1]
	first.durable[s.k.index], second.durable[s.k.index] = set, set
	s.w.live = append(s.w.live, s.layout)
	expect := func(when string, want int) {
		t.Helper()
		if got := s.w.history.overlapping(s.k, 2).Count(); got != want {
			t.Errorf("%s, a read must find %d writes; want %d", when, got, want)
		}
	}
	expect("with both disks", 1)
	s.w.replaceDisk(first, nil)
	expect("without one of them", 0)
	first.durable[s.k.index] = set
	expect("while the third owner has nothing", 0)
	s.w.nodes[2].durable[s.k.index] = set
	expect("when all owners have it", 1)
}
