package bench

import (
	"fmt"
	"sync"
	"time"
)

// Mark is something that happened in a run.
type Mark struct {
	Seconds float64 `json:"at_seconds"` // since the run began
	Name    string  `json:"name"`
}

// segments are the parts of a run: before the first mark, and after each mark
// the time in which the database settles and then the rest. An operation
// belongs to the one in which it was due.
type segments struct {
	start  time.Time
	settle time.Duration

	mu    sync.RWMutex
	marks []Mark
	parts []part
}

// part is a segment, up to the next one's begin.
type part struct {
	name string
	from time.Time
}

func newSegments(start time.Time, settle time.Duration) *segments {
	return &segments{start: start, settle: settle, parts: []part{{"before", start}}}
}

// mark begins the two segments after what happened now.
func (s *segments) mark(name string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marks = append(s.marks, Mark{now.Sub(s.start).Seconds(), name})
	// A settled segment that has not begun will not.
	if last := len(s.parts) - 1; s.parts[last].from.After(now) {
		s.parts[last] = part{fmt.Sprintf("%s, first %v", name, s.settle), now}
	} else {
		s.parts = append(s.parts, part{fmt.Sprintf("%s, first %v", name, s.settle), now})
	}
	s.parts = append(s.parts, part{name + ", then", now.Add(s.settle)})
}

// at returns the index of the segment at a time.
func (s *segments) at(t time.Time) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i := len(s.parts) - 1
	for i > 0 && s.parts[i].from.After(t) {
		i--
	}
	return i
}
