package grpckv

import "sync/atomic"

// memory is what requests under way hold, and replies that wait for their
// clients to take them: of maxBytes, all together. It is safe for concurrent use.
type memory struct{ held atomic.Int64 }

// take takes n bytes, and says whether it did: not when there are no more, nor
// when one that holds own bytes would leave less than that to all others. So a
// client that takes no replies for as long as it likes cannot keep the others
// out, and neither can many such clients: each leaves half of what it finds.
func (m *memory) take(own, n int64) bool {
	if left := maxBytes - m.held.Add(n); left < own {
		m.held.Add(-n)
		return false
	}
	return true
}

func (m *memory) give(n int64) { m.held.Add(-n) }
