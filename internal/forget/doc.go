// Package forget is the machine that lets go of what is not needed any more:
// keys that hold tombstones only, and the clock entries of actors that have no
// version present (DESIGN section 4, "Forgetting"). It is floor 2: no
// goroutine, no lock, no clock, no IO; a shard owns one and steps it.
//
// A tombstone keeps a deleted value from coming back: it may go only when
// nobody holds, and nobody can still send, anything that it replaced. The
// reaper of a partition is its first owner, while one layout is live. Each
// interval it looks through its partition and takes what it finds through two
// rounds, batched:
//
//  1. Every owner confirms that it holds exactly these sets, durably; every
//     other member that is not left confirms that it holds nothing for these
//     keys. All of them show the same members, each in the same start, and the
//     same layout. Each takes a token for what it confirms, in memory: a
//     restart or any change to the key clears it, and so does a change of the
//     members or layouts.
//  2. At least the TTL later, by the reaper's monotonic clock, all of them
//     confirm that the token stands. Then the owners are told to forget; each
//     does where its token stands and its set is unchanged.
//
// Between the rounds every copy of old state that was on its way in the first
// one has arrived, and cleared a token, or is dropped by its age. So when the
// second round succeeds, what the tombstone replaced is nowhere.
//
// # When an owner forgets and another does not
//
// The removal may miss an owner, or find its token gone. Its tombstone may then
// come back to the others, and is reaped again; a value cannot, since nobody
// holds one. A key that was written anew meanwhile is safe: its writer is a new
// actor, whose dot no old clock covers.
//
// # What else holds data
//
// A node's own copy and its hints, markers included, are watched by
// replica.Config.Watch, which is the Tokens; leftovers are in the own copy. A
// key with a hint or a marker is not confirmed, by an owner either.
//
// What other machines have in memory is not asked for, since it ends before a
// TTL does. Transfers are only under way in a transition, which voids all
// rounds. Requests, deliveries of hints and exchanges of anti-entropy let go of
// the sets that they send within M, and what they have sent is dropped within
// another M by its age; taking it in clears the token. A machine that sends
// siblings for longer than that must become part of Local.
//
// Data that was set aside is not served by any node, and its disk is too old to
// be put back unseen. A node whose disk is in doubt has no view, and so does
// not answer: it blocks rounds, as a dead one does.
//
// # Anti-entropy
//
// Between an owner that has forgotten a key and one that is about to,
// anti-entropy brings the tombstone back, to be reaped again a TTL later. That
// takes an exchange in the very moment of the removal, which is a message to
// each owner, as long as none of them is out of reach; so it stays rare.
package forget
