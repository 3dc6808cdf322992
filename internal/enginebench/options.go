package enginebench

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/engines"
)

// Options of a measurement.
type Options struct {
	Engine     string
	Dir        string        // of its own, with nothing in it
	Keys       uint64        // at least 1
	ValueBytes int           // of each value
	Length     time.Duration // of each load
	CacheBytes int64         // of engines that have a block cache; 0 is their default
}

// Names returns the engines that there are, the default one first.
func Names() []string {
	var names []string
	for _, d := range engines.Drivers() {
		names = append(names, d.Name)
	}
	return names
}

// Durable says whether an engine keeps its data in the directory.
func Durable(engine string) bool {
	for _, d := range engines.Drivers() {
		if d.Name == engine {
			return d.Durable
		}
	}
	return false
}

func (o *Options) open() (storage.Engine, error) {
	e, _, err := engines.Open(storage.Options{Engine: o.Engine, Dir: o.Dir, Node: "bench", CacheBytes: o.CacheBytes})
	return e, err
}

// key spreads the keys over the order.
func key(n uint64) []byte { return fmt.Appendf(nil, "bench/%016x", n*0x9e3779b97f4a7c15) }

// sync waits until all that was committed is durable.
func sync(e storage.Engine) error {
	done := make(chan error, 1)
	e.Commit(nil, core.Sync, func(err error) { done <- err })
	return <-done
}

// onDisk returns the bytes of all files below dir.
func onDisk(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // a file that has just gone takes no room
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	return n
}
