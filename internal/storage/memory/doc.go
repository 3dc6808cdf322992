// Package memory is the engine that keeps everything in memory: for tests, for
// caches, and for clusters whose replicas are safety enough. A node that runs
// it and stops comes back like one that lost its disk.
//
// It is an ordered tree (tidwall/btree) whose nodes are copied on write, so
// that a scan has its own view of it and blocks no commit. A commit is durable
// as soon as it is made, in the sense that there is nothing to wait for: its
// completion comes before Commit returns.
//
// It holds what the memory of the machine can take, or as many bytes as it is
// told: a batch that would need more is refused whole. A node stops taking what
// needs room before that, so that this is its last resort.
package memory
