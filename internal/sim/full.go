package sim

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/replica"
	"github.com/dynamo-kv/dynamo/internal/version"
)

const (
	// modelDisk is the size of a disk that somebody measures: at a twentieth of
	// it a node is full.
	modelDisk = 1 << 30

	// growthSlack is by how much a record may grow on a full node: what one of
	// less data may need for its clock and for the actor that minted it.
	growthSlack = 64
)

// RoomStats counts what happened on disks that were full, or nearly.
type RoomStats struct {
	Refused  uint64 // sets and hints from other nodes
	Turned   uint64 // writes of clients that nobody had room for: not written
	Unknown  uint64 // the same, after some had stored it
	Deletes  uint64 // records with fewer values that full nodes took
	Measured uint64 // times that a shard heard of its room
}

func (s *RoomStats) add(o *RoomStats) {
	s.Refused += o.Refused
	s.Turned += o.Turned
	s.Unknown += o.Unknown
	s.Deletes += o.Deletes
	s.Measured += o.Measured
}

// drawFull lets disks be full, or nearly, in half of the runs in which
// anti-entropy brings what a full node could not even note. It has a stream of
// its own, so that the other runs are what they would be without.
func (p *Plan) drawFull(rng *rand.Rand) {
	count := int(time.Duration(pick(rng, 0, 0, 8, 16)) * p.Length / time.Hour)
	if p.Still || p.AntiEntropy == 0 || count == 0 {
		return
	}
	p.measured = true
	for range count {
		f := Fault{At: drawTime(rng, p.Length), For: drawLength(rng), Kind: Full, Nodes: 1 << rng.IntN(p.Nodes)}
		switch rng.IntN(4) {
		case 0:
			f.Nodes = 1<<p.Nodes - 1
		case 1:
			f.Nodes = p.someNodes(rng)
		}
		if rng.IntN(3) == 0 {
			f.Share = pick(rng, 1e-5, 1e-4) // of the disk: what is left above the mark
		}
		f.For = min(f.For, p.Length-f.At)
		p.Faults = append(p.Faults, f)
		p.Bursts = append(p.Bursts, p.drawBurst(rng, f.At, time.Second+drawTime(rng, min(f.For, 6*time.Second)+3*time.Second)))
	}
	p.inOrder()
	slices.SortStableFunc(p.Bursts, func(a, b Burst) int { return cmp.Compare(a.At, b.At) })
}

// measure tells a process how much room its disk has: none while a fault has
// filled it, little while one nearly has.
func (w *world) measure(p *process) {
	if !p.up || !w.plan.measured {
		return
	}
	r := core.RoomReport{Left: modelDisk, Total: modelDisk}
	for _, i := range w.active {
		f := &w.plan.Faults[i]
		if f.Kind == Full && f.Nodes&(1<<p.index) != 0 {
			r.Left = min(r.Left, modelDisk/20+uint64(f.Share*modelDisk))
		}
	}
	w.input(p, controlLoop, input{kind: inRoom, room: r})
}

// measureAll tells the processes that a fault concerns.
func (w *world) measureAll(f *Fault) {
	for _, p := range w.nodes {
		if f.Kind == Full && f.Nodes&(1<<p.index) != 0 {
			w.measure(p)
		}
	}
}

// checkRoom holds what a full shard writes to what it may: records that it has,
// no larger than they are, and removals.
func (w *world) checkRoom(p *process, l *loop, wr core.Write, earlier []core.Write) {
	if l.view == nil || l.view.Room == nil || l.view.Room.State != core.RoomFull || wr.Delete {
		return
	}
	before := w.recordOf(p, wr.Key, earlier)
	if len(wr.Value) > len(before)+growthSlack {
		w.fail("room", "%v has no room left, and a record of %q grows from %d to %d bytes", p.id, core.ClientKey(wr.Key), len(before), len(wr.Value))
	}
	if liveIn(wr.Value) < liveIn(before) {
		w.report.Stats.Room.Deletes++
	}
}

// recordOf returns a record as it was before a write of the drain.
func (w *world) recordOf(p *process, key []byte, earlier []core.Write) []byte {
	for _, e := range slices.Backward(earlier) {
		if string(e.Key) == string(key) {
			return e.Value
		}
	}
	value, err := p.disk.Get(key)
	if err != nil && !errors.Is(err, core.ErrNotFound) {
		panic("sim: the disk of a running process cannot be read: " + err.Error())
	}
	return value
}

// liveIn counts the values in a record of a key; one that cannot be read is told
// elsewhere.
func liveIn(value []byte) int {
	var set version.Siblings
	if len(value) > 0 {
		set, _ = replica.StoredSet(value)
	}
	return len(set.Live())
}

// countFull counts how a client's write ended that found too little room.
func (s *Stats) countFull(r *core.Result) {
	switch {
	case r.Code != core.CodeStorageFull:
	case r.Outcome == core.NotWritten:
		s.Room.Turned++
	default:
		s.Room.Unknown++
	}
}
