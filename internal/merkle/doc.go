// Package merkle is the hash tree of one partition: what two owners compare to
// find the keys that they hold differently, at a cost that is proportional to
// the difference and not to the data.
//
// # Shape
//
// Every tree has the same shape: a root, Fanout branches, Fanout leaves below
// each. A leaf stands for an equal slice of the partition's ring positions, so
// that its keys are one range of the store, and a tree need not hold them.
// Blocks of leaves are allocated with their first key: an empty tree takes
// some 300 bytes, one whose leaves are all in use 17 KiB, whatever number of
// keys there is.
//
// # Hashes
//
// A key's hash is 128 bits over the key and what its sibling set is made of.
// A leaf is the sum of its keys' hashes modulo 2^128, a branch that of its
// leaves, the root that of all. Sums do not depend on an order and can be taken
// back, so that a write costs three additions from the key's old and new hash,
// and nothing is ever computed anew. A sum and not an exclusive or: a key that
// was counted twice by mistake would vanish from the latter, and shows in the
// former. docs/adr/0012-hash-trees.md has the odds.
//
// It is floor 1: pure, and it knows nothing of keys, sets or layouts.
package merkle
