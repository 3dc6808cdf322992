package kv

import "time"

// Version is one value of a key.
type Version struct {
	Data        []byte      // the caller's own copy
	VectorClock VectorClock // the writes that it had seen, its own included
	Timestamp   time.Time   // the wall clock of the node that took it; it decides nothing
}

// GetResult is what a read found.
type GetResult struct {
	// Values are the siblings: those that no other value has replaced. There
	// is mostly one; there are several after writes that had not seen each
	// other. Equal bytes are listed once.
	Values []Version
	// Context covers all of Values. A write that has it replaces them.
	Context *Context
	// Quorum says who answered.
	Quorum QuorumMet
}

// QuorumMet says by whom a request was answered.
type QuorumMet struct {
	Replicas  int // nodes that stored the write, or answered the read
	Hinted    int // those of them that keep a write for an owner they stand in for
	Fallbacks int // those of them that answered a read in place of an owner
	Required  int // W or R as it counted
}
