package dynamo

import (
	"github.com/dynamo-kv/dynamo/internal/room"
)

// RoomConfig says how much room a node keeps free on the file system of its data
// directory, or below MaxMemoryBytes. At the full mark it takes no writes but
// deletes, and nothing from other nodes that it would have to keep, answers
// ErrStorageFull where nobody else has room, and goes on with reads; at the low
// mark it warns. It comes back by itself when there is a quarter more than the
// mark. A mark is so many bytes, or that share of the whole, whichever is less;
// the full one is never below what the engine needs for its own work, as far as
// that is a quarter of the whole.
type RoomConfig struct {
	// Enabled has the room measured. Without it the node takes everything until
	// its disk, or its memory, is really full, which stops it.
	Enabled bool
	// LowBytes and LowShare are the low mark: in bytes, at least FullBytes, and a
	// share of the whole, FullShare to less than 1.
	LowBytes int64
	LowShare float64
	// FullBytes and FullShare are the full mark: in bytes, at least 0, and a
	// share of the whole, 0 to LowShare. With either at 0 only the engine's own
	// need is kept free.
	FullBytes int64
	FullShare float64
}

func defaultRoom() RoomConfig {
	m := room.DefaultMarks()
	return RoomConfig{
		Enabled:  true,
		LowBytes: int64(m.Low.Bytes), LowShare: m.Low.Share,
		FullBytes: int64(m.Full.Bytes), FullShare: m.Full.Share,
	}
}

func (r *RoomConfig) check(f *faults) {
	f.check(r.FullBytes >= 0, "Room.FullBytes is %d; 0 and more are allowed: 2147483648 suits most disks", r.FullBytes)
	f.check(r.LowBytes >= r.FullBytes,
		"Room.LowBytes is %d; at least Room.FullBytes, which is %d, is allowed: 21474836480 suits most disks", r.LowBytes, r.FullBytes)
	f.check(r.FullShare >= 0 && r.FullShare <= r.LowShare,
		"Room.FullShare is %v; 0 to Room.LowShare, which is %v, are allowed: 0.05 suits most disks", r.FullShare, r.LowShare)
	f.check(r.LowShare >= 0 && r.LowShare < 1,
		"Room.LowShare is %v; Room.FullShare, which is %v, to less than 1 are allowed: 0.15 suits most disks", r.LowShare, r.FullShare)
}

func (r *RoomConfig) marks() room.Marks {
	return room.Marks{
		Low:  room.Mark{Bytes: uint64(r.LowBytes), Share: r.LowShare},
		Full: room.Mark{Bytes: uint64(r.FullBytes), Share: r.FullShare},
	}
}
