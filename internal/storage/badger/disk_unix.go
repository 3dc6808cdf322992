//go:build unix

package badger

import (
	"io/fs"
	"syscall"
)

// diskBytes returns what a file takes of the disk: badger's logs are made
// longer than what is in them.
func diskBytes(info fs.FileInfo) int64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		const unit = 512 // what the standard says that Blocks counts
		return s.Blocks * unit
	}
	return info.Size()
}
