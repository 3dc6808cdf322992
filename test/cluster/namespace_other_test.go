//go:build !linux

package cluster

import (
	"errors"
	"os"
	"os/exec"
)

// errNotLinux fails tier 3 where there are no network namespaces.
var errNotLinux = errors.New("tier 3 needs the network namespaces of Linux: run it there, as root")

type namespace struct{}

func newNamespace() (*namespace, error) { return nil, errNotLinux }

func (*namespace) do(func())                              {}
func (*namespace) close()                                 {}
func (*namespace) path() string                           { return "" }
func (*namespace) start(*exec.Cmd) error                  { return errNotLinux }
func (*namespace) run(string, ...string) error            { return errNotLinux }
func (*namespace) forward() error                         { return errNotLinux }
func (*namespace) mountImage(string, string, int64) error { return errNotLinux }
func (*namespace) fill(string) error                      { return errNotLinux }
func (*namespace) remove(string) error                    { return errNotLinux }

func pause(*os.Process) error  { return errNotLinux }
func resume(*os.Process) error { return errNotLinux }
