// Package replica is the machine that keeps one node's own copy: it reads,
// merges what peers send, and mints the versions of the writes that this node
// coordinates. It is floor 2: no goroutine, no lock, no clock, no IO; a shard
// owns one and steps it.
//
// # Minting (DESIGN section 4)
//
// A dot is never used twice. Each start of the process draws a nonce; an
// actor's epoch is (nonce, counter in memory), and a record goes on with its
// actor only within the start that gave it. The actor is a local field of the
// stored record, never replicated and never derived from a clock. A record
// takes a fresh epoch at its next mint when it is new, was made by a merge,
// is of an earlier start, had its own clock entry pruned, or met a higher
// counter for its live actor from outside, which means that this node's disk
// has lost something and is counted as an alarm.
//
// # Hints
//
// A hint record keeps what owners of a key missed: siblings, or only the mark
// that this node's own copy has it. There is one for each key, with all of its
// owners, and it lives by the rules above, with an actor of its own. Siblings
// leave it only when their owner durably holds exactly what is kept. What all
// hints need is limited in bytes and known exactly at any moment, by tallies
// that are written in the batch that changes them.
//
// # Durability
//
// Every method that shows or changes state also returns the flush after which
// that state is durable, 0 when it is already. An acknowledgement that
// promises durability waits for it, and so does a read: an apply that changes
// nothing may have found state that a crash would still take away (scenarios
// noop-acknowledged and lost-observed-read).
package replica
