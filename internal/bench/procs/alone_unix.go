//go:build unix && !linux

package procs

import "syscall"

// alone puts a node's process in a group of its own, so that Ctrl-C ends this
// program, which then ends the nodes.
func alone() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
