package memory

import "github.com/dynamo-kv/dynamo/internal/storage"

// Name is the engine's name in a configuration.
const Name = "memory"

// Driver returns what storage.Open must know of this engine.
func Driver() storage.Driver {
	return storage.Driver{
		Name: Name,
		Open: func(_ string, _ bool, o storage.Options) (storage.Engine, error) {
			if o.MemoryBytes == 0 {
				return New(), nil
			}
			return NewLimited(o.MemoryBytes), nil
		},
	}
}
