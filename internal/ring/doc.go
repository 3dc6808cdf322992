// Package ring says who owns which keys: it cuts the 64-bit hash space into Q
// equal partitions, holds immutable layouts that assign N owners to each, and
// plans the next layout from the current one with the least movement of data.
//
//	position = Hash(key)            64 bits, the same on every node for ever
//	partition = the top log2(Q) bits of the position
//	layout: partition -> N distinct owners, in order
//	preference list = the owners, then the fallbacks met walking clockwise
//
// A layout never changes once it is built: it may be shared by any number of
// goroutines without a lock, and what its methods return without copying must
// not be modified.
//
// A plan is a pure function of the current layout and of the members: two
// nodes that plan from the same layout with the same members get the same
// layout, to the byte, on any machine. All of its arithmetic is on integers
// for that reason. It holds three rules, in this order:
//
//  1. The owners of a partition are distinct, and spread over the zones as
//     evenly as the sizes of the zones allow: in distinct zones where there
//     are enough of them.
//  2. Every node owns its weighted share of the partitions, rounded down or
//     up. Where rule 1 leaves a zone no choice, its nodes divide what the zone
//     must hold.
//  3. As few partitions move as rules 1 and 2 permit.
//
// The package is floor 1 and pure: no goroutine, lock, clock, global state or
// randomness.
package ring
