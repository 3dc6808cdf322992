//go:build !linux

package httpjson

import "syscall"

// limitSilence does nothing where there is no such limit: keepalive finds out
// a connection that is idle, and the deadline of a request one that is not.
func limitSilence(_, _ string, _ syscall.RawConn) error { return nil }
