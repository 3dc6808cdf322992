// Package admission says how much background work a node may do beside its
// foreground requests: how many pieces at once, and how many bytes a second.
//
//	Limiter  the node's slots, by the p99 of the latest foreground requests
//	Shares   the slots divided among the node's shards, never more than there are
//	Gate     one shard's share, in which its machines take turns
//	Claim    the storage engine's share
//	Valve    which requests of clients a shard takes, so that they are answered in time
//
// # Slots
//
// A slot is held by a piece of background work from its beginning until what
// it moved is durable, or acknowledged, and paid for at the rate of one slot: so
// the byte rate of a node shrinks and grows with its slots. While the p99 is
// above the target the slots are halved, down to the least; while it is well
// below they come back one by one. With fewer than MinSamples samples nothing
// is known, and everything is admitted.
//
// # Few slots and many shards
//
// Slots belong to the node. Control gives each shard some of them; a shard that
// has too many for what is left gives each back at the end of the piece of work
// that holds it, and says so, and only then another shard is given it. So the
// sum of what is held is bounded by the slots at every moment, though no two
// shards ever share state. Where there are fewer slots than shards with work,
// they go round: each shard with work has its turn.
//
// Within a shard those who wait for a slot get it in the order of their coming.
// As there is always one slot at least, and each holder comes to an end or to a
// point where it gives way, work of every kind always goes on.
//
// All of it is calculators: time comes in as an argument.
package admission
