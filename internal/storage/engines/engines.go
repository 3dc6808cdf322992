package engines

import (
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/badger"
	"github.com/dynamo-kv/dynamo/internal/storage/bolt"
	"github.com/dynamo-kv/dynamo/internal/storage/lss"
	"github.com/dynamo-kv/dynamo/internal/storage/memory"
	"github.com/dynamo-kv/dynamo/internal/storage/pebble"
)

// Drivers returns the engines that there are, the default one first.
func Drivers() []storage.Driver {
	return []storage.Driver{pebble.Driver(), lss.Driver(), bolt.Driver(), badger.Driver(), memory.Driver()}
}

// SetAside is storage.SetAside with every engine.
func SetAside(o storage.Options) (folder string, err error) {
	return storage.SetAside(o, Drivers()...)
}

// Room is storage.Room with every engine.
func Room(o storage.Options, e storage.Engine) (core.RoomReport, error) {
	return storage.Room(o, e, Drivers()...)
}

// Open opens the engine that the options name. The errors are those of
// storage.Open.
func Open(o storage.Options) (storage.Engine, storage.Identity, error) {
	return storage.Open(o, Drivers()...)
}
