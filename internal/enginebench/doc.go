// Package enginebench measures storage engines beside each other, on the disk
// where they are to run.
//
// Each engine is measured by a process of its own, so that its memory and its
// processor time are its own: [Measure] fills a store and puts loads on it,
// [Reopen] opens what a killed process has left. The program that starts these
// processes shows what they found with [Table].
//
// The loads are overwrites of random keys out of all, so that compaction and
// merging are under way, with values that do not compress; gets of random
// keys; and scans in chunks of the size that background work takes at once.
// All of it is bounded by time, so that a slow engine takes no longer than a
// fast one.
package enginebench
