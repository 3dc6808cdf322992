package memory

import "github.com/dynamo-kv/dynamo/internal/storage"

// Name is the engine's name in a configuration.
const Name = "memory"

// Driver returns what storage.Open must know of this engine.
func Driver() storage.Driver {
	return storage.Driver{
		Name: Name,
		Open: func(string, bool, storage.Options) (storage.Engine, error) { return New(), nil },
	}
}
