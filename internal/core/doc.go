// Package core is what the machines speak: messages between nodes, requests
// of clients and their replies, the immutable views that Control hands to the
// shards, the effects that a step produces, and the store that it reads.
//
// Everything here is plain data without behaviour that decides. The machines
// (replica, coordinator, handoff, membership) step on it; the production
// runtime and the simulator carry it. Byte slices are immutable once they are
// inside a value of this package, and are never recycled.
package core
