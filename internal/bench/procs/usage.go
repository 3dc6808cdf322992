package procs

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what a node has used of this machine, in all of its processes.
type Usage struct {
	CPU     time.Duration
	RSS     int64 // bytes that it has in memory now; 0 if it does not run
	PeakRSS int64 // the most of its last process
}

// ticksPerSecond is the unit of /proc/PID/stat: Linux shows it as a hundredth
// on every architecture that Go runs on.
const ticksPerSecond = 100

// Usage returns what the node has used. It needs Linux's /proc for a process
// that runs.
func (n *Node) Usage() (Usage, error) {
	n.mu.Lock()
	u := Usage{CPU: n.spent}
	p := n.proc
	n.mu.Unlock()
	select {
	case <-p.exited:
		return u, nil
	default:
	}
	dir := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return u, fmt.Errorf("what node %s uses is not known: %w", n.id, err)
	}
	ticks, err := cpuTicks(string(stat))
	if err != nil {
		return u, err
	}
	u.CPU += time.Duration(ticks) * time.Second / ticksPerSecond
	memory, err := os.ReadFile(dir + "status")
	if err != nil {
		return u, fmt.Errorf("what node %s uses is not known: %w", n.id, err)
	}
	u.RSS, u.PeakRSS = kibibytes(string(memory), "VmRSS:"), kibibytes(string(memory), "VmHWM:")
	return u, nil
}

// OwnMemory returns what this process has in memory now, and the most that it
// had, in bytes; 0 where the system has no /proc to tell.
func OwnMemory() (rss, peak int64) {
	memory, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	return kibibytes(string(memory), "VmRSS:"), kibibytes(string(memory), "VmHWM:")
}

// cpuTicks returns the user and system time in /proc/PID/stat. The name of the
// program stands before them, in parentheses, and may hold anything.
func cpuTicks(stat string) (int64, error) {
	after := stat[strings.LastIndexByte(stat, ')')+1:]
	fields := strings.Fields(after)
	const user, system = 11, 12 // of those after the name; proc(5) counts from 1 at the process ID
	if len(fields) <= system {
		return 0, fmt.Errorf("/proc has %q, which has no CPU time", stat)
	}
	u, err := strconv.ParseInt(fields[user], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("/proc has %q: %w", stat, err)
	}
	s, err := strconv.ParseInt(fields[system], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("/proc has %q: %w", stat, err)
	}
	return u + s, nil
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
