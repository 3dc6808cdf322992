package core

import (
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// LocalWrite is a write that the coordinator asks of its own node's replica:
// the one that mints a version.
type LocalWrite struct {
	Key []byte
	// Context is what the writer has seen; empty for a blind write.
	Context version.Clock
	// Overwrite joins the replica's own stored clock into the context, which
	// then is what a quorum has shown, or empty: the writer has seen nothing.
	Overwrite bool
	Write     version.Write
	// For is set where this node owns nothing of the key and no owner can be
	// reached: the version is minted into the hints, for these owners.
	For []id.Node
}

// LocalResult is what became of a LocalWrite.
type LocalResult struct {
	// Code is CodeOK, or why nothing was written: CodeTooManySiblings,
	// CodeSetTooLarge, CodeClockTooLong, CodeOverloaded where hints are full,
	// CodeStorageFull, CodeStopped.
	Code Code
	// Set is the whole set that the replica now holds, to be replicated.
	Set version.Siblings
	// Context is what the writer has seen after the write.
	Context version.Clock
	// Flush is the flush after which the set is durable, 0 if it is already.
	Flush uint64
}
