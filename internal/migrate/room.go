package migrate

import (
	"fmt"

	"github.com/dynamo-kv/dynamo/internal/storage"
)

// room is an error unless the disk has room for the copy, as far as the system
// tells. taken is what the copy has of it already.
func (r *run) room(total digest, taken int64) error {
	free, known := r.hold.Available()
	if !known {
		return nil
	}
	need := roomMargin + r.driver().CopyRoom(total.keys, total.bytes)
	need -= min(need-roomMargin, uint64(max(0, taken)))
	if free >= need {
		return nil
	}
	return fmt.Errorf("%w: it needs up to %s for %d keys, and %s are free; make room on it, or move the directory to a larger disk",
		ErrNoRoom, storage.Size(need), total.keys, storage.Size(free))
}

func (r *run) driver() storage.Driver {
	for _, d := range r.drivers {
		if d.Name == r.to {
			return d
		}
	}
	panic("migrate: validated options name an engine that is not there")
}
