package self

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// started is read once: whoever asks gets the same.
var started = time.Now() //nolint:gochecknoglobals // there is one a process, and it is never written

// Started returns when this process was started, to the nanosecond, so that two
// who are told the same of a process speak of one and not of two.
func Started() time.Time { return started }

// Memory returns what this process has in memory now, and the most that it has
// had, in bytes; 0 where the system has no /proc to tell.
func Memory() (rss, peak int64) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	return kibibytes(string(status), "VmRSS:"), kibibytes(string(status), "VmHWM:")
}

// kibibytes returns a field of /proc/PID/status in bytes, or 0.
func kibibytes(status, field string) int64 {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err == nil {
				return n << 10
			}
		}
	}
	return 0
}
