//go:build !unix

package procs

import (
	"errors"
	"syscall"
)

func alone() *syscall.SysProcAttr { return nil }

// errNoSignals is why a node cannot be stopped here.
var errNoSignals = errors.New("this system cannot stop a process and let it go on")

// Stop says that it cannot be done.
func (n *Node) Stop() error { return errNoSignals }

// Continue says that it cannot be done.
func (n *Node) Continue() error { return errNoSignals }
