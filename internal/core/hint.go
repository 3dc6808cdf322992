package core

import (
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// HintItem is one key that a node keeps for owners that missed a write of it.
type HintItem struct {
	Key    []byte
	Owners []HintOwner
	// Set is exactly what an owner must hold for its part of the hint to be
	// settled: the siblings kept for it, and this node's own where an owner is
	// only marked. It is empty where nothing is left to deliver.
	Set version.Siblings
}

// HintOwner is an owner that a hint is for.
type HintOwner struct {
	Node id.Node
	// Data says that siblings are kept for the owner: what may be the only
	// copy, which never expires.
	Data bool
	// Since is set where the owner missed a write that this node's own copy
	// has: nanoseconds since the Unix epoch, when it did so first.
	Since int64
}
