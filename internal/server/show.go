package server

import (
	"bytes"

	"github.com/dynamo-kv/dynamo/internal/version"
)

// Shown is a live value as a client sees it.
type Shown struct {
	Data      []byte        // immutable
	Clock     version.Clock // of all siblings that have these bytes
	Timestamp int64         // Unix nanoseconds; the latest of them
}

// Show returns the live values of a set as a client sees them: without
// tombstones, and equal bytes once, since they are what a retried write
// without an ID leaves. Nothing is stored so, and the context that goes with
// them covers every sibling. They stand in the order of their dots, and are
// appended to out.
func Show(out []Shown, set version.Siblings) []Shown {
	first := len(out)
	for i := range set.Versions {
		v := &set.Versions[i]
		if v.Tombstone {
			continue
		}
		if twin := find(out[first:], v.Data); twin != nil {
			twin.Clock = twin.Clock.Join(set.ClockOf(i))
			twin.Timestamp = max(twin.Timestamp, v.Timestamp)
			continue
		}
		out = append(out, Shown{Data: v.Data, Clock: set.ClockOf(i), Timestamp: v.Timestamp})
	}
	return out
}

// sizeOf returns how many bytes the values have.
func sizeOf(shown []Shown) (n int64) {
	for i := range shown {
		n += int64(len(shown[i].Data))
	}
	return n
}

// find returns the shown value of these bytes, nil where there is none.
func find(shown []Shown, data []byte) *Shown {
	for i := range shown {
		if bytes.Equal(shown[i].Data, data) {
			return &shown[i]
		}
	}
	return nil
}
