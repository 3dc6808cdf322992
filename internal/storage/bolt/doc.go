// Package bolt is an engine on bbolt: one file, a B+ tree whose pages are
// copied on write. Of all engines it has the fewest moving parts: no log, no
// compaction, nothing in the background but its own flusher.
//
// Package grouped does what bbolt leaves open: it shows commits at once,
// and has all that come in during one transaction share the next. bbolt syncs
// its file twice a transaction, first what was written and then the page that
// says where the tree is now, so a crash at any moment leaves the tree before
// or after a transaction; Stats counts such a pair as one fsync.
//
// # The file
//
// It grows in steps (growBytes) and never shrinks: what deletions set free is
// written to again. It is read through a map of memory that the system pages
// in and out, so MemoryBytes knows only of what waits for a transaction. The
// map is reserved beforehand (mapBytes), which takes addresses and no memory;
// as long as the file is smaller, no reader makes a transaction wait. bbolt has
// no encryption: use an encrypted file system, or badger.
//
// # Checksums
//
// bbolt has checksums of its two meta pages only, so each value is stored behind
// one of its key and itself: CRC-32C, four bytes. A value that the disk has
// changed stops the engine when it is read, as damage of a page does. That a key
// is missing because a page has lost it, no read can tell: Check does, which holds
// every page to the others and every pair to its checksum. Where one meta page is
// damaged, bbolt goes by the other one, which lacks the last transaction if it is
// the older: that is logged at the start, and found by Check. The bucket is named by
// the format of what is in it (format.go); a store of another one is refused.
//
// # The file system
//
// bbolt wants files of the operating system, for its map of memory. It cannot
// run on vfs, neither on the disk in memory that loses its power nor on one
// that fails: Open refuses any file system but vfs.OS. The tests kill processes
// instead. An error that the system reports stops the engine (package
// grouped); bbolt meets damaged pages with a panic and the system a file that
// was cut with a fault, and these stop the engine too.
package bolt
