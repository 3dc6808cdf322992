// Package coordinator is the machine of requests: one slot for each that is
// under way, stepped by replies, failures, time and new views. It runs put and
// get quorums, forwards writes to owners, executes what others forward, hedges
// slow reads and retries what is safe. It is floor 2: no goroutine, no lock,
// no clock, no IO.
//
// # Writes
//
// Put and delete are one path: a delete is a put of a tombstone. An owner
// (under the layout that reads go by) mints through its own replica and sends
// the whole resulting set to all other owners of every live layout; the write
// is done when W distinct nodes of each have made it durable. Its own copy
// counts when its flush is durable, so W may be met by others first. Any
// other node forwards to an owner, one hop.
//
// # Fallbacks
//
// With a sloppy quorum, an owner that is not alive or has failed is replaced by
// the next fallback, which keeps the set as a hint for it and fills its place:
// there is one place for each owner, so that no copy counts twice (scenario
// double-counted-fallback). Where no owner can be reached the write is minted
// into the hints of a fallback, which may be this node. When a request ends,
// each owner that may have missed the write and has no hint is marked here.
// Reads ask fallbacks for their hints in the same way.
//
// # The three outcomes
//
// Written: W was met. Not written: no replica or fallback can have persisted
// it, such as a forward that every owner provably never got. Unknown: all else.
// How long an answer took does not decide which it is.
//
// # Reads
//
// Any node runs them: it asks the R fastest owners, and the next one each
// time a peer fails or is slower than its own p95. Not found is an answer.
//
// When one has answered, it awaits whom it has asked, then sends each owner
// that answered with less than all together the merged set, once, and this
// node's own copy takes it in likewise. A blocking read does so before its
// answer, which comes when R owners hold the set durably; it counts owners
// alone.
//
// # Layout changes
//
// A replica that goes by newer layouts refuses; the slot waits for the view
// that Control fetches, and goes on by it. Acknowledgements are facts about
// nodes and stay; a read starts over where its layout has changed.
package coordinator
