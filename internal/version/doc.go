// Package version holds what the system knows about causality: dots, clocks,
// sibling sets and context tokens, and the rules by which they are compared,
// merged and minted (DESIGN section 4).
//
// A [Dot] is the unique name of one write to one key: an actor and its
// counter. A [Clock] is a set of dots, stored as a vector (actor to the
// counter up to which all is covered) and isolated dots beyond it. [Siblings]
// are the versions of a key that no other has replaced, with the clock of all
// dots that are present or were replaced: a dotted causal container. A
// [Context] is the clock of what a client has seen, bound to its key.
//
// The algebra is that of dotted version vectors: Almeida, Baquero, Gonçalves,
// Preguiça, Fonte, "Scalable and Accurate Causality Tracking for Eventually
// Consistent Stores" (DAIS 2014), and Gonçalves, Almeida, Baquero, Fonte,
// "Concise Server-Wide Causality Management for Eventually Consistent Data
// Stores" (DAIS 2015). What is ours is the isolated dot in a context: a put's
// context covers what its caller had seen and the new dot, and never a
// sibling with a lower counter that the caller has not read.
//
// # Values
//
// Every type here is an immutable value. Methods return a new value or one of
// their operands, share slices freely and never write to a shared one, so
// values may be used by several goroutines without locks. Callers must not
// modify the slices that they get or have handed in.
//
// A clock has one representation: the vector is folded as far as it goes, so
// that two clocks cover the same dots exactly when their slices are equal,
// and one value has exactly one encoding.
//
// The package is floor 1 and pure: no clock, no randomness, no goroutine, and
// no map whose order could show.
package version
