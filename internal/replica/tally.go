package replica

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// tally is how much one partition's hints are. It is stored beside them and
// written in the batch that changes them, so that it is exact at every moment,
// the first one after a restart included, without a look at the hints.
type tally struct {
	partition ring.Partition
	bytes     uint64              // of the records: keys and values
	records   uint64              //
	pending   []core.HintsPending // by target, sorted, none with 0 keys; never changed in place
}

const tallyFormat = 1

func (t *tally) encode() []byte {
	b := []byte{tallyFormat}
	b = binary.AppendUvarint(b, t.bytes)
	b = binary.AppendUvarint(b, t.records)
	b = binary.AppendUvarint(b, uint64(len(t.pending)))
	for _, p := range t.pending {
		b = append(b, byte(len(p.Target)))
		b = append(b, p.Target...)
		b = binary.AppendUvarint(b, p.Keys)
	}
	return b
}

// decodeTally reads a stored tally.
func decodeTally(b []byte) (t tally, err error) {
	if len(b) < 1 || b[0] != tallyFormat {
		return t, fmt.Errorf("stored tally of hints is not of format %d, which this program reads", tallyFormat)
	}
	b = b[1:]
	number := func() (v uint64) {
		v, n := binary.Uvarint(b)
		if n <= 0 || n > 1 && b[n-1] == 0 {
			err = fmt.Errorf("stored tally of hints has a damaged number")
			b = nil
			return 0
		}
		b = b[n:]
		return v
	}
	t.bytes, t.records = number(), number()
	count := number()
	if err == nil && count > maxOwners {
		return tally{}, fmt.Errorf("stored tally of hints has %d targets; at most %d are allowed", count, maxOwners)
	}
	for i := uint64(0); i < count && err == nil; i++ {
		if len(b) < 1 || len(b) < 1+int(b[0]) {
			return tally{}, fmt.Errorf("stored tally of hints ends within its targets")
		}
		name := b[1 : 1+b[0]]
		b = b[1+b[0]:]
		p := core.HintsPending{Keys: number()}
		if err != nil {
			break
		}
		if p.Target, err = id.ParseNode(string(name)); err != nil {
			return tally{}, fmt.Errorf("stored tally of hints: %w", err)
		}
		if p.Keys == 0 || i > 0 && t.pending[i-1].Target >= p.Target {
			return tally{}, fmt.Errorf("stored tally of hints has its targets out of order")
		}
		t.pending = append(t.pending, p)
	}
	if err == nil && len(b) > 0 {
		err = fmt.Errorf("stored tally of hints has %d bytes too many", len(b))
	}
	if err != nil {
		return tally{}, err
	}
	return t, nil
}

// count changes the number of keys that are kept for n.
func count(pending []core.HintsPending, n id.Node, by int) []core.HintsPending {
	i, found := findPending(pending, n)
	out := slices.Clone(pending)
	if !found {
		out = slices.Insert(out, i, core.HintsPending{Target: n})
	}
	out[i].Keys += uint64(by) // by may be negative: the sum is not
	if out[i].Keys == 0 {
		out = slices.Delete(out, i, i+1)
	}
	return out
}

func findPending(pending []core.HintsPending, n id.Node) (int, bool) {
	return slices.BinarySearchFunc(pending, n, func(p core.HintsPending, n id.Node) int { return cmp.Compare(p.Target, n) })
}
