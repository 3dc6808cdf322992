// Package runtime is the production shell of a node's machines: a goroutine
// and a queue for each shard and for Control, the timers, the flushes, and the
// way of a reply to whoever waits for it. It decides nothing; what decides is
// stepped by it and, in the very same way, by internal/sim.
//
// # A loop
//
// A loop takes what its queue holds, steps at most node.MaxDrain inputs, then
// flushes once: one batch to the engine, then the sends. Under load batching
// comes by itself, and group commit with it. Effects that promise durability
// are held until the engine has completed the flush that they belong to and
// all before it.
//
// # Bounds
//
// Queues for requests of clients and of peers are bounded: past the bound a
// client hears overloaded at once, and a peer is refused. Replies, completions
// and views always enter, since what they answer to is bounded itself.
package runtime
