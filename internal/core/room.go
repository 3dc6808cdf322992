package core

// RoomState is how much room a node's storage has left.
type RoomState uint8

// The states.
const (
	RoomPlenty RoomState = iota
	RoomLow              // it takes everything, and somebody should look after it
	RoomFull             // it takes what frees room, and nothing that needs more
)

// String returns the state's name, as status and metrics show it.
func (s RoomState) String() string {
	switch s {
	case RoomPlenty:
		return "plenty"
	case RoomLow:
		return "low"
	case RoomFull:
		return "full"
	}
	return "unknown"
}

// RoomReport is what the shell has measured, for Control.
type RoomReport struct {
	Left, Total uint64 // bytes that the storage can still take, and could if it were empty
	// Need is what the engine itself may need on the way, for its logs and for
	// giving back what is no longer used.
	Need uint64
}

// AnyRoom is the allowance of a shard that may store whatever it likes.
const AnyRoom = ^uint64(0)

// Room is what a shard goes by.
type Room struct {
	State RoomState
	// Allowance is how many bytes the shard may store until it hears of the
	// next measurement, AnyRoom where that is no matter.
	Allowance uint64
	// Measurement counts them, so that each gives its allowance once.
	Measurement uint64
}

// RoomStatus is what Control knows of the room, for people.
type RoomStatus struct {
	Measured    bool // else nothing is known, and nothing refused
	State       RoomState
	Left, Total uint64
	Low, Full   uint64 // the marks: at or below them the state is that
}
