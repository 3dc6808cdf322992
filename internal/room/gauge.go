package room

import "fmt"

// State is how much room there is.
type State uint8

// The states, in the order of less and less room.
const (
	Plenty State = iota
	Low
	Full
)

const (
	// needShare is the part of a storage that an engine's own need may keep
	// from everybody else: on a small disk it must do with less than it likes.
	needShare = 4

	// backShare of a mark is how far the room must be above it for its state to
	// end: more than a node needs that has just stopped taking what needs room.
	backShare = 4

	// lowShare of the full mark is the least that the low one is above it: who
	// is warned must have the time to do something.
	lowShare = 2
)

// Mark is a bound on the room that is left: so many bytes, or that share of
// all that the storage could hold, whichever is less.
type Mark struct {
	Bytes uint64
	Share float64 // 0 to 1
}

// of returns the mark for a storage of that size.
func (m Mark) of(total uint64) uint64 { return min(m.Bytes, uint64(m.Share*float64(total))) }

// Marks are those of a Gauge.
type Marks struct{ Low, Full Mark }

// DefaultMarks returns marks that suit small and large storages alike. 2 GiB is
// what merging some large tables takes on the way, and some tens of seconds of
// a fast disk's writing; 20 GiB are minutes of it. The shares are for disks and
// memories on which so much would be most of what there is.
func DefaultMarks() Marks {
	return Marks{Low: Mark{Bytes: 20 << 30, Share: 0.15}, Full: Mark{Bytes: 2 << 30, Share: 0.05}}
}

// Validate returns what is wrong with the marks.
func (m Marks) Validate() error {
	for _, s := range []float64{m.Low.Share, m.Full.Share} {
		if !(s >= 0 && s < 1) {
			return fmt.Errorf("a mark at the share %v of the storage; 0 to less than 1 is allowed", s)
		}
	}
	if m.Low.Bytes < m.Full.Bytes || m.Low.Share < m.Full.Share {
		return fmt.Errorf("the low mark (%d bytes, share %v) is below the full one (%d bytes, share %v); it must not be",
			m.Low.Bytes, m.Low.Share, m.Full.Bytes, m.Full.Share)
	}
	return nil
}

// Measurement is what is known of a storage at one moment, in bytes.
type Measurement struct {
	Left, Total uint64
	// Need is what the engine may need on the way, beside what it is told to
	// keep.
	Need uint64
}

// Gauge tells the state. Use NewGauge.
type Gauge struct {
	marks Marks
	last  Measurement
	state State
}

// NewGauge returns one that has measured nothing, and sees plenty of room.
func NewGauge(m Marks) *Gauge { return &Gauge{marks: m} }

// Measure takes the next measurement and says whether the state has changed.
func (g *Gauge) Measure(m Measurement) (changed bool) {
	g.last = m
	before := g.state
	low, full := g.Marks()
	switch {
	case m.Left <= full, before == Full && m.Left <= full+full/backShare:
		g.state = Full
	case m.Left <= low, before != Plenty && m.Left <= low+low/backShare:
		g.state = Low
	default:
		g.state = Plenty
	}
	return g.state != before
}

// State returns the state by the latest measurement and those before it.
func (g *Gauge) State() State { return g.state }

// Last returns the latest measurement.
func (g *Gauge) Last() Measurement { return g.last }

// Marks returns the marks for a storage like the one that was measured last.
func (g *Gauge) Marks() (low, full uint64) {
	total := g.last.Total
	full = max(g.marks.Full.of(total), min(g.last.Need, total/needShare))
	low = max(g.marks.Low.of(total), full+full/lowShare)
	return low, full
}

// Spare returns what may still be stored before the storage is full.
func (g *Gauge) Spare() uint64 {
	if _, full := g.Marks(); g.state != Full && g.last.Left > full {
		return g.last.Left - full
	}
	return 0
}
