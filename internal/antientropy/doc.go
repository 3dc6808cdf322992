// Package antientropy is the machine that makes the owners of a partition hold
// the same: it compares their hash trees, finds the keys that differ, and
// exchanges exactly those, both ways. It is floor 2: no goroutine, no lock, no
// clock, no IO.
//
// # Who with whom, and when
//
// Any two owners of a partition in the layout that reads go by are a pair. Of
// each pair one node takes the first step, which a hash of the partition picks,
// so that no work is done twice and both carry half of it. A shard has one
// exchange at a time: with one peer, about all partitions that they share. Each
// peer has its turn once an interval at the latest; dirty partitions go first,
// with whoever owns them. Peers that are not alive are left out until they are.
//
// # An exchange
//
// The roots of all shared partitions are compared in one message. Of each
// partition that differs, branches and then leaves are compared, the keys of
// the leaves that differ are listed with their hashes, and what differs there
// is exchanged: a key that only this node has is pushed with Apply; any other
// is fetched with Read and merged here, and what the peer still lacks is pushed
// back. Then both have the merge of both, and neither has anything to tell the
// other in the next round. One round in which each pair is compared makes all
// owners equal, if nothing is written meanwhile: what one holds goes to each of
// the others directly.
//
// All messages are idempotent and may be repeated. They carry stamps; a replica
// refuses older ones than its own, and a new stamp here ends the exchange under
// way. Hashes promise nothing about durability: what a crash takes back leaves
// a difference, which the next round finds.
//
// An exchange that breaks off leaves what it has repaired repaired: the
// partitions that it has not come to are the ones to be compared next time.
//
// # Limits
//
// An exchange holds one of the node's slots for background work, and moves what
// the rate of a slot allows (package admission), in windows of windowKeys keys;
// where others wait for the slot it lets what is under way come to its end and
// takes its turn behind them. Trees are built a chunk at a time, in another slot.
package antientropy
