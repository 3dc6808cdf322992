package httpjson

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/version"
)

// Version is one value or tombstone with what it had seen.
type Version struct {
	Data []byte `json:"data"` // base64; empty for a tombstone
	// VectorClock is the largest clock under the set's that covers no other
	// sibling's dot, by actor.
	VectorClock map[string]uint64 `json:"vector_clock"`
	// Timestamp is the wall clock of the node that took the write, RFC 3339
	// with nanoseconds, in UTC. It decides nothing.
	Timestamp   time.Time `json:"timestamp"`
	IsTombstone bool      `json:"is_tombstone"`
	Dot         Dot       `json:"dot"`
	// WriteID names the client's request over its retries: 32 hexadecimal
	// digits.
	WriteID string `json:"write_id,omitempty"`
}

// Dot is the unique name of one write to one key.
type Dot struct {
	Actor   string `json:"actor"` // node~epoch
	Counter uint64 `json:"counter"`
}

// Clock is what a sibling set has seen.
type Clock struct {
	Vector map[string]uint64 `json:"vector"`
	Dots   []Dot             `json:"dots,omitempty"` // covered one by one
}

// versionsOf returns the versions of a set, tombstones included, in the order
// of their dots.
func versionsOf(set version.Siblings) []Version {
	out := make([]Version, len(set.Versions))
	for i := range set.Versions {
		v := &set.Versions[i]
		out[i] = Version{
			Data:        append([]byte{}, v.Data...),
			VectorClock: vectorOf(set.ClockOf(i)),
			Timestamp:   time.Unix(0, v.Timestamp).UTC(),
			IsTombstone: v.Tombstone,
			Dot:         dotOf(v.Dot),
		}
		if !v.WriteID.IsZero() {
			out[i].WriteID = v.WriteID.String()
		}
	}
	return out
}

// vectorOf shows a clock as one counter an actor: the highest that it covers.
func vectorOf(c version.Clock) map[string]uint64 {
	out := make(map[string]uint64, c.Len())
	for _, list := range [][]version.Dot{c.Vector(), c.Dots()} {
		for _, d := range list {
			out[d.Actor.String()] = max(out[d.Actor.String()], d.Counter)
		}
	}
	return out
}

func dotOf(d version.Dot) Dot { return Dot{Actor: d.Actor.String(), Counter: d.Counter} }

func clockOf(c version.Clock) Clock {
	out := Clock{Vector: make(map[string]uint64, len(c.Vector()))}
	for _, d := range c.Vector() {
		out.Vector[d.Actor.String()] = d.Counter
	}
	for _, d := range c.Dots() {
		out.Dots = append(out.Dots, dotOf(d))
	}
	return out
}
