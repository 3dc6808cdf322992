package coordinator

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// latencies are those of the requests that have been answered since they were
// taken last: of the latest core.MaxLatencies, since older ones would not
// outlive them in Control's window either.
type latencies struct {
	list []time.Duration
	next int // of a full list: the oldest
}

func (l *latencies) add(d time.Duration) {
	if len(l.list) < core.MaxLatencies {
		l.list = append(l.list, d)
		return
	}
	l.list[l.next] = d
	l.next = (l.next + 1) % core.MaxLatencies
}

// Answered says whether any request was answered since TakeLatencies.
func (c *Coordinator) Answered() bool { return len(c.latencies.list) > 0 }

// TakeLatencies returns how long the latest requests took, of clients and of
// other nodes on their behalf, from when they came to this node to their answer.
func (c *Coordinator) TakeLatencies() []time.Duration {
	taken := c.latencies.list
	c.latencies = latencies{}
	return taken
}
