// Package memnet is a network inside one process, for tests that assemble
// whole nodes: it can be cut, lose messages, and runs in the bubbles of
// testing/synctest.
//
// It is as faithful as the real one where it matters: every envelope is
// encoded and decoded, queues are the same and as bounded, batches form in
// the same way, and a node that does not listen refuses. A message that a cut
// or a loss takes is gone, and its sender is told nothing, as with a network
// that fails behind an open connection.
//
// Each transport has one goroutine for each address that it sends to. No
// mutex is held while one waits or while a handler runs.
package memnet
