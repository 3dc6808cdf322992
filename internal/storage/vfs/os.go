package vfs

import "github.com/cockroachdb/pebble/v2/vfs"

// FS is a file system as the durable engines see it.
type FS = vfs.FS

// File is an open file or directory of an FS.
type File = vfs.File

// Category says what a file is written for; engines may leave it empty.
type Category = vfs.DiskWriteCategory

// OS returns the machine's own file system.
func OS() FS { return vfs.Default }
