package core

import "time"

// Budget is a shard's share of what background work may take at this node:
// package admission has the rules. Nobody changes one.
type Budget struct {
	Epoch uint64 // of the share, which a LoadReport names
	Slots int    // pieces of work at once
	// BytesPerSlot is what each of them may move a second.
	BytesPerSlot int64
}

// MaxLatencies bounds the latencies of one LoadReport. The four shards that a
// node has by default tell more than a window of a thousand requests with it.
const MaxLatencies = 256

// LoadReport tells Control what a shard's requests and its background work are
// like, or what the storage engine's is.
type LoadReport struct {
	Shard int    // the number of shards: the engine
	Epoch uint64 // of the budget that the shard goes by, 0: none
	// Held counts the slots that background work holds, and Wanted those that
	// it has work for.
	Held, Wanted int
	Waits        uint64 // times since the start that work had to wait for a slot
	// Latencies are those of the latest requests of clients, and of other nodes
	// on their behalf, that have ended since the report before. Nobody changes
	// them.
	Latencies []time.Duration
}

// Background is how much background work a node lets itself do.
type Background struct {
	Limited bool // false: as much as there is
	// Slots are what there is now, of at most MaxSlots; Held and Wanted are as
	// the shards have told last.
	Slots, MaxSlots, Held, Wanted int
	BytesPerSecond                int64         // of all slots that there are now
	Target                        time.Duration // that P99 is held to
	// P99 is that of the latest requests; 0: too few are known.
	P99    time.Duration
	Shrunk uint64 // times since the start that there came to be fewer slots
	Waits  uint64 // times since the start that work had to wait for a slot
}

// Throttled says that requests are too slow for all the background work that
// there might be.
func (b *Background) Throttled() bool { return b.Limited && b.Slots < b.MaxSlots }

// Budget returns the share of a shard, or of the storage engine, whose number is
// that of the shards, where it has one; ok is false where there is no limit.
func (v *View) Budget(shard int) (b Budget, ok bool) {
	if v.Budgets == nil {
		return Budget{}, false
	}
	return v.Budgets[shard], true
}
