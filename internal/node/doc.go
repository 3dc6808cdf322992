// Package node assembles the machines of one node: Shard, which owns all of
// its partitions' state, and Control, which owns membership and layouts. They
// are still machines, stepped by events, without goroutine, lock, clock or IO.
// Two shells drive the very same methods: internal/runtime in production and
// internal/sim in simulation, and nothing else may (internal/archtest).
//
// # The contract of a loop
//
// A shell runs one loop a Shard and one for Control. A drain of a loop steps
// at most MaxDrain inputs, calls Flush, and carries out what Out has gathered,
// in the order that core.Out states. When a flush and all before it are
// durable, the loop releases its held effects and steps Durable. An engine
// need not show what it has not made durable: the shard's own overlay does.
package node
