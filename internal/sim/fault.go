package sim

import (
	"fmt"
	"strings"
	"time"
)

// FaultKind says what goes wrong.
type FaultKind uint8

// The kinds of faults. To add one: a constant and its name here, its weight
// in drawFault, and what it does in begin and heal of inject.go.
const (
	// Crash cuts the power of nodes and starts them again when it heals.
	Crash FaultKind = iota
	// Restart stops nodes cleanly and starts them again when it heals.
	Restart
	// Blackout is a Crash of every node at once.
	Blackout
	// Halves cuts the network in two.
	Halves
	// Isolate cuts one node off from all others.
	Isolate
	// OneWay cuts the way from some nodes to the others, and not the way back.
	OneWay
	// Loss loses a share of the messages.
	Loss
	// Duplicate delivers a share of the messages again, some of them late.
	Duplicate
	// Reorder delays a share of the messages by much more than the others.
	Reorder
	// SlowDisk makes the fsyncs of nodes slow.
	SlowDisk
	// Skew makes the wall clocks of nodes jump, and jump back when it heals.
	Skew
	// Stall stops the loops of nodes, as SIGSTOP would.
	Stall
	// Misjudge makes nodes believe of others, well or not, that they are
	// suspected or dead, or alive.
	Misjudge
	// Reweigh stops a node cleanly and starts it with another weight, when it
	// heals: the layout changes.
	Reweigh
	// Grow starts new nodes that join the cluster. It does not heal.
	Grow
	// Away is a Crash of one node for longer than a tombstone is kept.
	Away
	// Wipe ends nodes and starts them again with empty disks, as new instances
	// under the same IDs.
	Wipe
	// Restore ends nodes and starts them again with copies of their disks that
	// were made some time before.
	Restore
	// Full leaves no room on the disks of nodes, or hardly any.
	Full

	faultKinds
)

// String returns the kind's name as summaries show it.
func (k FaultKind) String() string {
	switch k {
	case Crash:
		return "crash"
	case Restart:
		return "restart"
	case Blackout:
		return "blackout"
	case Halves:
		return "halves"
	case Isolate:
		return "isolate"
	case OneWay:
		return "one-way"
	case Loss:
		return "loss"
	case Duplicate:
		return "duplicate"
	case Reorder:
		return "reorder"
	case SlowDisk:
		return "slow-disk"
	case Skew:
		return "skew"
	case Stall:
		return "stall"
	case Misjudge:
		return "misjudge"
	case Reweigh:
		return "reweigh"
	case Grow:
		return "grow"
	case Away:
		return "away"
	case Wipe:
		return "wipe"
	case Restore:
		return "restore"
	case Full:
		return "full"
	case faultKinds:
	}
	return "unknown"
}

// trigger is what an armed fault waits for: what goes wrong at other times
// than these is seldom missed by anybody. After a while it strikes all the
// same.
type trigger uint8

const (
	nothing  trigger = iota
	onCommit         // one of its nodes commits a batch: it strikes around the fsync
	onCopy           // a transition begins
	onMoved          // reads move to the newer layout
)

// String returns what is waited for.
func (t trigger) String() string {
	switch t {
	case nothing:
		return "nothing"
	case onCommit:
		return "commit"
	case onCopy:
		return "copy"
	case onMoved:
		return "moved"
	}
	return "unknown"
}

// patience is how long an armed fault waits.
func (t trigger) patience() time.Duration {
	if t == onCommit {
		return 3 * time.Second
	}
	return 30 * time.Second
}

// Fault is one thing that goes wrong for a while. A plan has a list of them,
// fixed before the run begins, so that a failing run can be tried again
// without some of them.
type Fault struct {
	Number int           // its place in the seed's plan, which a shrunk plan keeps
	At     time.Duration // when it begins
	For    time.Duration // how long until it heals
	Kind   FaultKind
	Nodes  uint32        // which nodes, as bits by their index; what they mean depends on the kind
	Share  float64       // of messages
	By     time.Duration // how much: of delay, of skew, of a copy's age
	On     trigger       // what it waits for, once its time has come
	Count  int           // of nodes that join
}

// String returns the fault as failure reports show it.
func (f Fault) String() string {
	s := fmt.Sprintf("%2d %-9s at %v", f.Number, f.Kind, f.At.Round(time.Microsecond))
	if f.For > 0 {
		s += fmt.Sprintf(" for %v", f.For.Round(time.Microsecond))
	}
	if f.Nodes != 0 {
		names := []string{" nodes"}
		for i := range maxNodes {
			if f.Nodes&(1<<i) != 0 {
				names = append(names, string(nodeID(i)))
			}
		}
		s += strings.Join(names, " ")
	}
	if f.Share > 0 {
		s += fmt.Sprintf(" share %.3f", f.Share)
	}
	if f.By != 0 {
		s += fmt.Sprintf(" by %v", f.By.Round(time.Microsecond))
	}
	if f.Count > 0 {
		s += fmt.Sprintf(" count %d", f.Count)
	}
	if f.On != nothing {
		s += " on " + f.On.String()
	}
	return s
}
