package metrics

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/self"
)

// Process is what is shown of the node's process beside what client_golang shows
// of it.
type Process struct {
	Started time.Time // equal for nodes of one process, and for no others
	Peak    int64     // the most that it has had in memory, in bytes; 0: not known
}

// ReadProcess returns what is known of this process.
func ReadProcess() Process {
	_, peak := self.Memory()
	return Process{Started: self.Started(), Peak: peak}
}

func processFamilies() []family {
	return []family{
		gauge("process_start_time_seconds", "When the process was started; nodes of one process show exactly the same.",
			func(r *Reading) float64 {
				if r.Process.Started.IsZero() {
					return 0
				}
				return float64(r.Process.Started.UnixNano()) / 1e9
			}),
		gauge("process_memory_peak_bytes", "The most that the process has had in memory since its start; 0: the system does not tell.",
			func(r *Reading) float64 { return float64(r.Process.Peak) }),
	}
}
