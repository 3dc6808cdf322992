// Package handoff is the machine that moves data between nodes, when layouts
// change and when owners return: a new owner pulls whole partitions from old
// owners, a node that holds keys which it does not own pushes them to those who
// do, and what was kept for an owner that could not be reached is delivered to
// it. It is floor 2: no goroutine, no lock, no clock, no IO.
//
// # Hints
//
// The replica machine stores them; this one sweeps over them, in the order of
// partitions and keys, when an owner is alive again, has another start or
// another address, or when layouts have changed, and now and then besides. A
// window of keys is under way at a time. What an owner has durably acknowledged
// is forgotten if it is still exactly that. An owner that does not answer is
// left alone for a while that grows, and holds up nobody else. Where an owner
// has lost the partition, those who have it now must all acknowledge.
//
// # Pull
//
// A new owner of a partition is synced when it has pulled it from N−W+1 old
// owners, each of which had first adopted the new layout: every write that
// was acknowledged under the old layout alone is then among what it has
// pulled, since an adopter refuses the old stamp from then on (DESIGN section
// 5; scenarios read-gap-pull and read-gap-stamp). Chunks are durable before
// the next one is asked for.
//
// # Push
//
// A key in a partition that this node owns in no live layout is sent to all
// owners of the live layouts until each has durably acknowledged exactly that
// set, and then removed if it has not changed. This holds whatever layout put
// it there, so nothing is lost when two sides of a cut network each grew a
// layout (scenario two-layouts-six).
package handoff
