package core

import "fmt"

// ReqID names a request that waits for something. Peers echo it and do not
// look inside. Its parts are shard, machine, slot and generation, so that a
// reply finds its slot by index, and one that comes too late misses it.
type ReqID uint64

// Machine tells the machines of one loop apart in a ReqID.
type Machine uint8

// The machines that wait for replies.
const (
	MachineCoordinator Machine = iota
	MachineHandoff
	MachineMembership
	MachineAntiEntropy
	MachineForget
	// MachineOutside is no machine: somebody asks this node from outside and
	// waits in the shell. No request of a peer carries it.
	MachineOutside
)

// The widths of a ReqID's parts. MaxSlots bounds the outstanding requests of
// one machine in one shard.
const (
	shardBits      = 12
	machineBits    = 4
	slotBits       = 20
	generationBits = 28

	MaxShards = 1 << shardBits
	MaxSlots  = 1 << slotBits
)

// NewReqID puts a ReqID together. Generation is cut to the bits it has.
func NewReqID(shard int, m Machine, slot, generation uint32) ReqID {
	id := uint64(shard)<<(machineBits+slotBits+generationBits) |
		uint64(m)<<(slotBits+generationBits) |
		uint64(slot)<<generationBits |
		uint64(generation)&(1<<generationBits-1)
	return ReqID(id)
}

// Shard returns the index of the shard that waits.
func (r ReqID) Shard() int { return int(r >> (machineBits + slotBits + generationBits)) }

// Machine returns the machine that waits.
func (r ReqID) Machine() Machine {
	return Machine(r >> (slotBits + generationBits) & (1<<machineBits - 1))
}

// Slot returns the machine's slot that waits.
func (r ReqID) Slot() uint32 { return uint32(r >> generationBits & (1<<slotBits - 1)) }

// Generation returns the use of the slot that waits.
func (r ReqID) Generation() uint32 { return uint32(r & (1<<generationBits - 1)) }

// String returns the parts, for traces.
func (r ReqID) String() string {
	return fmt.Sprintf("%d.%d.%d.%d", r.Shard(), r.Machine(), r.Slot(), r.Generation())
}
