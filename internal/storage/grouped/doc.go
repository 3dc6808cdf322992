// Package grouped makes a storage.Engine of a transactional library, such as
// bbolt or badger: one whose transactions are durable when they return.
//
// # Group commit
//
// Commit puts its batch into an overlay in memory, where Get and Scan find it
// at once, and returns. One goroutine, the flusher, takes all batches that have
// come in while it carried out the last ones, has the library apply them in
// one synced transaction, and then calls their completions in the order of
// commits. What nobody waits for (core.NoSync, with nothing before it that is
// waited for) is gathered until there is enough of it for a transaction, or
// somebody does wait: since there is one order for all, a crash keeps a prefix.
//
// # One moment
//
// A library never holds anything that the overlay has not had before, and the
// overlay lets go of a batch only when the library holds it. So a copy of the
// overlay together with a snapshot of the library that was taken at the same
// moment is the store at that moment, whatever is under way; both are taken
// under the lock that commits take.
//
// A scan gathers what it is going to show before it calls f for the first time,
// and holds no snapshot of the library while f runs: bbolt cannot grow its file
// while one is held, and f may wait for a commit that needs that. So a scan
// takes as much memory as its limit allows.
//
// # Failure
//
// After the first error of the library, or of what it reports in another way
// (Fail), nothing more is given to it, and every completion and every read from
// then on is an error that says storage.ErrFailed.
package grouped
