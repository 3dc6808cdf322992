// Package pebble is the default engine: cockroachdb's log-structured merge
// tree, made durable by a write-ahead log.
//
// # Group commit
//
// Commit applies its batch and returns; it does not wait for the log. Pebble's
// log writer collects what has come in while it synced the last time, and
// syncs all of it at once. One goroutine, the completer, takes the batches in
// the order in which they were committed, waits until each is synced, and
// calls its done. So the shards of a node share their fsyncs, however many
// there are, and none of them waits for one.
//
// # Failure
//
// Pebble answers an error of its log with a panic and one of its manifest with
// a call to its logger's Fatalf, which is expected to end the process. A
// library must not end its host. Therefore pebble never sees an error of a
// write or a sync: the file system below it is a vfs.FailStop, which records
// the first failure, freezes the disk in that state, and lets pebble go on in
// the void. The engine asks it before it completes a batch, so from the first
// failure on every completion and every read is an error that says
// storage.ErrFailed, and the node stops. What it finds at its next start is
// what the disk held at that moment, as after a power cut.
//
// Whatever else pebble calls fatal or a background error (damage that a
// compaction meets, say) stops the engine in the same way.
package pebble
