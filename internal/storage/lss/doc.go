// Package lss is a log-structured engine of our own: values in an append-only
// log of segments, keys in memory.
//
// A commit goes to the end of the active segment, which is a file of zeros, or
// one that an earlier use has left: overwriting costs the file system less
// than appending. One goroutine, the flusher, writes and syncs for all that
// commit meanwhile. When the segment is full it is sealed: never changed again,
// and described by a hint file from which a start learns its keys without
// reading its values. An ordered index in memory says where the latest record
// of each key is; reading one is a look there and one read of a file.
//
// What later records have replaced is garbage. The merger takes the sealed
// segment with most of it, copies what is still current to the end of the log
// as it would commit it, and gives the file back to be used again. The copies
// keep their sequence numbers, by which a start tells the latest record of a
// key wherever it stands.
//
// docs/lss.md has the format and what recovery does with each sort of damage.
//
//	engine.go    the port: commits, reads, scans
//	flusher.go   writing and syncing of what was committed
//	keeper.go    sealing segments, and having the next one ready
//	merger.go    taking back the room of what was replaced
//	scrub.go     finding what the disk has changed
//	recover.go   opening
//	frame.go, hint.go, manifest.go   what is on the disk
package lss
