//go:build unix

package procs

import (
	"syscall"
	"time"
)

// Stop stops the node's process in its tracks, as SIGSTOP does.
func (n *Node) Stop() error { return n.signal(syscall.SIGSTOP) }

// Continue lets a stopped process go on.
func (n *Node) Continue() error { return n.signal(syscall.SIGCONT) }

// OwnCPU returns the CPU time that this process has used.
func OwnCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
