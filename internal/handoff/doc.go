// Package handoff is the machine that moves data between nodes when layouts
// change: a new owner pulls whole partitions from old owners, and a node that
// holds keys which it does not own pushes them to those who do. It is floor 2:
// no goroutine, no lock, no clock, no IO. (Hints join it with sloppy quorums.)
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
