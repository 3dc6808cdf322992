// Package vfs is what the durable engines know of a file system: the interface
// that they go through, and the seams at which tests make it fail.
//
// The interface is pebble's, which has stood in production for years and comes
// with a file system in memory that can lose power. On it stand:
//
//   - OS, the machine's own file system (os.go);
//   - Disk, a disk in memory that keeps what was synced and any part of the
//     rest when its power is cut (crash.go);
//   - Watch and SplitWrites, with which a test sees, fails or tears every
//     single operation (fault.go);
//   - FailStop, under every engine in production: after the first operation
//     that failed, nothing reaches the disk any more (failstop.go);
//   - ReadOnly, under whoever looks at a store that is not open: nothing of
//     what it does can change it (readonly.go).
package vfs
