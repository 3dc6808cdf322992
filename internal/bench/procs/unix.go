//go:build unix

package procs

import "syscall"

// Stop stops the node's process in its tracks, as SIGSTOP does.
func (n *Node) Stop() error { return n.signal(syscall.SIGSTOP) }

// Continue lets a stopped process go on.
func (n *Node) Continue() error { return n.signal(syscall.SIGCONT) }
