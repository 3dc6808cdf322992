// Package migrate moves the data of a stopped node from one storage engine to
// another.
//
// A node's data is what its engine's keys and values are, and its identity: who
// it is in its cluster, which writes it has acknowledged, what it keeps for
// others, what it remembers of its disk and its peers. So a migration copies every
// pair byte for byte and understands none of them, and the node that starts on the
// copy is the node that was stopped.
//
// # Phases
//
//   - Counting reads all that the old engine holds, counts it and takes its hash.
//     A store of which something is damaged ends here.
//   - Copying reads both engines side by side, in the order of keys, and writes to
//     the new one where they differ. It keeps no place: what an earlier run has
//     copied is found to be equal, and what has changed since is copied again.
//     So it can be resumed after a crash at any point, and after the node has been
//     in use in between.
//   - Verifying opens the copy anew, reads both engines side by side once more,
//     and compares every byte; counts and hashes of both must be those of the
//     first phase.
//   - Then one step, the renaming of a file, makes the data the new engine's, and
//     the old engine's files are removed, or kept under another name.
//
// The directory is held throughout, so that nothing is written between the
// comparison and the switch. Until the switch the old engine's data is whole, and
// a node may be started on it; package storage tells the rest: Offline, Migration.
//
// # Memory
//
// Chunks and batches are bounded in keys and bytes (limits.go); beside them stand
// the engines' own caches and buffers.
package migrate
