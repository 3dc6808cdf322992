package core_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// The parts of a request's ID come back as they were put in; of a generation that
// has more bits, the lowest.
func TestRequestIDsKeepTheirParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shard := rapid.IntRange(0, core.MaxShards-1).Draw(t, "shard")
		machine := core.Machine(rapid.IntRange(0, int(core.MachineOutside)).Draw(t, "machine"))
		slot := rapid.Uint32Range(0, core.MaxSlots-1).Draw(t, "slot")
		generation := rapid.Uint32().Draw(t, "generation")
		r := core.NewReqID(shard, machine, slot, generation)
		if r.Shard() != shard || r.Machine() != machine || r.Slot() != slot || r.Generation() != generation<<4>>4 {
			t.Fatalf("%v of %d, %d, %d and %d", r, shard, machine, slot, generation)
		}
	})
}
