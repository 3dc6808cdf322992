// Package dynamo is a leaderless, always-writable, replicated key-value
// database, after Amazon's Dynamo (SOSP 2007), as a library: a [Node] inside
// your program is a full member of a cluster, and so is one that the dynamo
// binary runs.
//
// # A node
//
// [NewNode] checks a [Config] and opens nothing; [Node.Start] opens the
// storage and listens; [Node.Join] makes the node a member of a cluster;
// [Node.Ready] waits until the cluster is complete; [Node.Stop] ends it. One
// address serves the other nodes and the HTTP API (docs/http-api.md).
//
// # Reading and writing
//
// Every key is held by N nodes, its owners. A write is acknowledged when W of
// them have stored it, a read is answered when R of them have answered. Any
// node takes any request. As long as W nodes can be reached a write succeeds,
// whatever else is down.
//
// Nobody serializes writes, so two clients can write a key without having
// seen each other's value. Neither is dropped: both are kept, as siblings,
// until a later write replaces them. What a write replaces is said by its
// [Context], which reads and writes return:
//
//   - A read-modify-write hands the context of the read to the write. It
//     replaces what was read, all siblings included, and nothing that was not.
//   - A write with a nil context has seen nothing, and becomes a sibling of
//     whatever is there.
//   - [Overwrite] replaces what the coordinating node has stored: last writer
//     wins, for data where that is good enough.
//
// A delete is a write too, and follows the same rules.
//
// # When something fails
//
// Errors answer to errors.Is: [ErrKeyNotFound], [ErrQuorum], [ErrTimeout],
// [ErrOverloaded] and the others. A write that fails says what became of it:
// with the [Outcome] [NotWritten] it will never appear; with [Unknown] it may,
// and repeating it with the same [WithIdempotencyKey] is safe. No call returns
// later than its timeout or its context's end.
//
// What was acknowledged is never lost: it is there, or a write that had seen
// it has replaced it, as long as one of the disks that hold it survives.
package dynamo
