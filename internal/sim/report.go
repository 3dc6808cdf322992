package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// maxViolations is how many violations a run notes for each checker: one bug
// breaks many promises many times, and the first few tell which.
const maxViolations = 3

// Violation is one broken promise or invariant.
type Violation struct {
	Checker string
	At      time.Duration // virtual time
	What    string
}

// String returns the violation as failures show it.
func (v Violation) String() string {
	return fmt.Sprintf("[%s] at %v: %s", v.Checker, v.At.Round(time.Microsecond), v.What)
}

// Report is what became of a run.
type Report struct {
	Plan       *Plan
	Violations []Violation
	TraceHash  uint64
	Steps      uint64
	Stats      Stats
}

// Failed says whether a promise was broken.
func (r *Report) Failed() bool { return len(r.Violations) > 0 }

// Checkers returns the names of the checkers that were not satisfied, in the
// order of their first complaint.
func (r *Report) Checkers() []string {
	var names []string
	seen := make(map[string]bool)
	for _, v := range r.Violations {
		if !seen[v.Checker] {
			seen[v.Checker] = true
			names = append(names, v.Checker)
		}
	}
	return names
}

// Stats counts what happened in one run, or in many.
type Stats struct {
	Runs    int
	Virtual time.Duration // with faults; the healing at the end not counted
	Steps   uint64

	Operations [4]uint64 // by core.Op
	Blind      uint64    // puts without context
	ByRead     uint64    // writes with the context of a read
	ByPut      uint64    // writes with the context of a write: isolated dots
	Overwrites uint64
	Results    map[string]uint64 // by operation and outcome
	Retries    uint64
	Calm       uint64 // answers in calm times, all of which were good
	Siblings   uint64 // gets that found more than one version

	RepliesLost uint64
	Minted      uint64
	MintedTwice uint64 // writes that got more than one dot
	Reaped      uint64 // removals of deleted keys, one for each owner
	ReapedAmid  uint64 // those of them before everything has healed
	Pruned      uint64 // clock entries forgotten, one for each owner
	Returned    uint64 // reaped tombstones that an owner took in again
	Recreated   uint64 // keys that were written again after they were reaped
	Cancelled   uint64 // rounds of forgetting given up
	Spans       uint64 // of traced requests
	SlotWaits   uint64 // times that background work waited for a slot
	Throttled   uint64 // views with fewer slots than there may be

	Faults             [faultKinds]uint64
	FaultsInTransition uint64
	GrowthUnderFault   uint64
	Restarts           uint64
	Moves              uint64 // restarts at another address
	Transitions        uint64
	Joined             uint64
	Rest               time.Duration // the longest that a healed cluster took to come to rest

	// Opinions of peers, as views show them.
	Suspected   uint64
	RightlyDead uint64 // the process was down
	FalselyDead uint64 // it was up: cut off, or it stood still
	Revived     uint64
	Noticed     uint64 // times that a node was seen to have noticed that another was down

	Losses   LossStats
	Circuits CircuitStats
	Hints    HintStats
	Room     RoomStats
	Network  NetworkStats
	Disk     DiskStats
	Trees    TreeStats
	Repairs  RepairStats
}

func (s *Stats) operation(o *operation) {
	s.Operations[o.op]++
	if o.write == nil {
		return
	}
	switch c := o.write.context; {
	case o.write.overwrite:
		s.Overwrites++
	case c == nil:
		s.Blind++
	case c.fromPut:
		s.ByPut++
	default:
		s.ByRead++
	}
}

func (s *Stats) result(o *operation, r *core.Result) {
	if s.Results == nil {
		s.Results = make(map[string]uint64)
	}
	if r.Fallbacks > 0 && (r.Code == core.CodeOK || r.Code == core.CodeNotFound) {
		if o.write == nil {
			s.Hints.Reads++
		} else {
			s.Hints.Writes++
		}
	}
	s.countFull(r)
	name := o.op.String() + " " + r.Code.String()
	if o.write != nil && r.Outcome != core.Written {
		name += " " + r.Outcome.String()
	}
	s.Results[name]++
	if len(r.Set.Versions) > 1 {
		s.Siblings++
	}
}

// Total returns the number of operations.
func (s *Stats) Total() uint64 {
	return s.Operations[core.OpGet] + s.Operations[core.OpPut] + s.Operations[core.OpDelete]
}

// FaultTotal returns the number of faults that met somebody.
func (s *Stats) FaultTotal() (n uint64) {
	for _, f := range s.Faults {
		n += f
	}
	return n
}

// Hours returns the cluster-hours.
func (s *Stats) Hours() float64 { return s.Virtual.Hours() }

// Add adds the counts of other runs.
func (s *Stats) Add(o *Stats) {
	s.Runs += o.Runs
	s.Virtual += o.Virtual
	s.Steps += o.Steps
	for i := range s.Operations {
		s.Operations[i] += o.Operations[i]
	}
	s.Blind += o.Blind
	s.ByRead += o.ByRead
	s.ByPut += o.ByPut
	s.Overwrites += o.Overwrites
	if s.Results == nil {
		s.Results = make(map[string]uint64)
	}
	for k, n := range o.Results {
		s.Results[k] += n
	}
	s.Retries += o.Retries
	s.Calm += o.Calm
	s.Siblings += o.Siblings
	s.RepliesLost += o.RepliesLost
	s.Minted += o.Minted
	s.MintedTwice += o.MintedTwice
	s.Spans += o.Spans
	s.Reaped += o.Reaped
	s.ReapedAmid += o.ReapedAmid
	s.Pruned += o.Pruned
	s.Returned += o.Returned
	s.Recreated += o.Recreated
	s.Cancelled += o.Cancelled
	s.SlotWaits += o.SlotWaits
	s.Throttled += o.Throttled
	for i := range s.Faults {
		s.Faults[i] += o.Faults[i]
	}
	s.FaultsInTransition += o.FaultsInTransition
	s.GrowthUnderFault += o.GrowthUnderFault
	s.Restarts += o.Restarts
	s.Moves += o.Moves
	s.Transitions += o.Transitions
	s.Joined += o.Joined
	s.Rest = max(s.Rest, o.Rest)
	s.Suspected += o.Suspected
	s.RightlyDead += o.RightlyDead
	s.FalselyDead += o.FalselyDead
	s.Revived += o.Revived
	s.Noticed += o.Noticed
	s.Losses.add(&o.Losses)
	s.Circuits.add(&o.Circuits)
	s.Hints.add(&o.Hints)
	s.Room.add(&o.Room)
	s.Network.add(&o.Network)
	s.Disk.add(&o.Disk)
	s.Trees.add(&o.Trees)
	s.Repairs.add(&o.Repairs)
}

func (n *NetworkStats) add(o *NetworkStats) {
	n.Sent += o.Sent
	n.Delivered += o.Delivered
	n.Lost += o.Lost
	n.Cut += o.Cut
	n.Duplicated += o.Duplicated
	n.Delayed += o.Delayed
	n.Refused += o.Refused
	n.Expired += o.Expired
	n.ToTheDead += o.ToTheDead
}

func (d *DiskStats) add(o *DiskStats) {
	d.Batches += o.Batches
	d.Fsyncs += o.Fsyncs
	d.Crashes += o.Crashes
	d.Dropped += o.Dropped
	d.Torn += o.Torn
	d.Survived += o.Survived
}

// String returns the counts for people.
func (s *Stats) String() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-12s "+format+"\n", append([]any{name}, args...)...)
	}
	line("simulated", "%.1f cluster-hours in %d runs, %d steps", s.Hours(), s.Runs, s.Steps)
	line("operations", "%d (%.0f an hour): %d gets, %d puts, %d deletes; %d blind, %d by a read's context, %d by a write's, %d overwrites; %d retries; %d in calm times",
		s.Total(), float64(s.Total())/s.Hours(), s.Operations[core.OpGet], s.Operations[core.OpPut], s.Operations[core.OpDelete],
		s.Blind, s.ByRead, s.ByPut, s.Overwrites, s.Retries, s.Calm)
	line("outcomes", "%s", counts(s.Results))
	line("versions", "%d minted, %d writes minted more than once, %d gets with siblings, %d replies lost", s.Minted, s.MintedTwice, s.Siblings, s.RepliesLost)
	line("forgetting", "%d removals of deleted keys, %d of them amid faults, %d that were brought back, %d keys written again, %d clock entries pruned, %d rounds cancelled", s.Reaped, s.ReapedAmid, s.Returned, s.Recreated, s.Pruned, s.Cancelled)
	line("admission", "%d times that background work waited for a slot, %d views with fewer slots than there may be", s.SlotWaits, s.Throttled)
	faults := make(map[string]uint64)
	for k, n := range s.Faults {
		faults[FaultKind(k).String()] = n
	}
	line("faults", "%d (%.0f an hour): %s", s.FaultTotal(), float64(s.FaultTotal())/s.Hours(), counts(faults))
	line("growth", "%d nodes joined, %d transitions, %d growths under faults, %d faults in transitions, %d restarts, %d at another address; at rest %v after healing, at most",
		s.Joined, s.Transitions, s.GrowthUnderFault, s.FaultsInTransition, s.Restarts, s.Moves, s.Rest.Round(time.Second))
	line("health", "%d times suspected, %d dead that were down, %d that were not, %d alive again; %d times noticed for certain",
		s.Suspected, s.RightlyDead, s.FalselyDead, s.Revived, s.Noticed)
	line("breakers", "%d times opened, %d half-open, %d closed again, %d opened by a probe",
		s.Circuits.Opened, s.Circuits.HalfOpened, s.Circuits.Closed, s.Circuits.Reopened)
	line("hints", "%d taken, %d markers, %d settled, %d markers expired, %d refused for want of room, %d versions minted into hints; %d writes and %d reads counted fallbacks; %d keys made equal by hints alone",
		s.Hints.Taken, s.Hints.Marked, s.Hints.Settled, s.Hints.Expired, s.Hints.Refused, s.Hints.Minted, s.Hints.Writes, s.Hints.Reads, s.Hints.Equal)
	line("room", "%d sets and hints refused for want of it, %d writes not begun, %d not acknowledged; %d records that full nodes took with fewer values",
		s.Room.Refused, s.Room.Turned, s.Room.Unknown, s.Room.Deletes)
	line("disks", "%d batches, %d fsyncs, %d crashes, %d unsynced batches dropped, %d kept, %d torn tails",
		s.Disk.Batches, s.Disk.Fsyncs, s.Disk.Crashes, s.Disk.Dropped, s.Disk.Survived, s.Disk.Torn)
	line("lost disks", "%v", &s.Losses)
	line("trees", "%d exchanges, %d partitions differed, %d keys repaired; %d trees built, %d saved, %d loaded; %d clusters not equal at rest, %v until they were, at most",
		s.Trees.Exchanges, s.Trees.Differing, s.Trees.Repaired, s.Trees.Built, s.Trees.Saved, s.Trees.Loaded, s.Trees.Diverged, s.Trees.Converged.Round(time.Second))
	line("read repair", "%d sets sent, %d into the own copy, %d dropped; %d blocking gets, %d of them waited; %d gets that must not go back",
		s.Repairs.Sent, s.Repairs.Own, s.Repairs.Dropped, s.Repairs.Blocking, s.Repairs.Waited, s.Repairs.Checked)
	line("messages", "%d sent, %d delivered, %d lost, %d cut, %d duplicated, %d delayed, %d refused, %d expired, %d to the dead",
		s.Network.Sent, s.Network.Delivered, s.Network.Lost, s.Network.Cut, s.Network.Duplicated, s.Network.Delayed,
		s.Network.Refused, s.Network.Expired, s.Network.ToTheDead)
	return b.String()
}

// counts returns a table of counts in one line, sorted by name.
func counts(m map[string]uint64) string {
	var parts []string
	for _, name := range sortedKeys(m) {
		parts = append(parts, fmt.Sprintf("%s %d", name, m[name]))
	}
	return strings.Join(parts, ", ")
}
