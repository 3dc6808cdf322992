package replica

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

// maxOwners bounds the owners that one hint is for: every member of the
// cluster may have owned its partition in some layout.
const maxOwners = id.MaxMembers

// The flags of an owner in a stored hint.
const (
	ownerData   = 1 << 0
	ownerMarked = 1 << 1
)

func appendOwners(b []byte, owners []core.HintOwner) []byte {
	b = binary.AppendUvarint(b, uint64(len(owners)))
	for i := range owners {
		o := &owners[i]
		b = append(b, byte(len(o.Node))) // at most id.MaxNodeBytes
		b = append(b, o.Node...)
		flags := byte(0)
		if o.Data {
			flags |= ownerData
		}
		if o.Since != 0 {
			flags |= ownerMarked
		}
		b = append(b, flags)
		if o.Since != 0 {
			b = binary.BigEndian.AppendUint64(b, uint64(o.Since))
		}
	}
	return b
}

// decodeOwners reads the owners that stand at the beginning of b: at least
// one, sorted by node, each once.
func decodeOwners(b []byte) (owners []core.HintOwner, rest []byte, err error) {
	count, n := binary.Uvarint(b)
	if n <= 0 || count < 1 || count > maxOwners || n > 1 && b[n-1] == 0 {
		return nil, nil, fmt.Errorf("stored hint has a damaged number of owners; 1 to %d are allowed", maxOwners)
	}
	b = b[n:]
	for range count {
		var o core.HintOwner
		if o, b, err = decodeOwner(b); err != nil {
			return nil, nil, err
		}
		if len(owners) > 0 && owners[len(owners)-1].Node >= o.Node {
			return nil, nil, fmt.Errorf("stored hint has owner %s not after %s", o.Node, owners[len(owners)-1].Node)
		}
		owners = append(owners, o)
	}
	return owners, b, nil
}

func decodeOwner(b []byte) (o core.HintOwner, rest []byte, err error) {
	if len(b) < 1 || len(b) < 1+int(b[0])+1 {
		return o, nil, fmt.Errorf("stored hint ends within its owners")
	}
	name, b := b[1:1+b[0]], b[1+b[0]:]
	if o.Node, err = id.ParseNode(string(name)); err != nil {
		return o, nil, fmt.Errorf("stored hint: %w", err)
	}
	flags, b := b[0], b[1:]
	if flags == 0 || flags&^(ownerData|ownerMarked) != 0 {
		return o, nil, fmt.Errorf("stored hint has unknown flags %#x for %s", flags, o.Node)
	}
	o.Data = flags&ownerData != 0
	if flags&ownerMarked == 0 {
		return o, b, nil
	}
	if len(b) < 8 {
		return o, nil, fmt.Errorf("stored hint ends within the marker of %s", o.Node)
	}
	if o.Since = int64(binary.BigEndian.Uint64(b)); o.Since == 0 {
		return o, nil, fmt.Errorf("stored hint has a marker of %s without a time", o.Node)
	}
	return o, b[8:], nil
}

// findOwner returns where n stands, or would.
func findOwner(owners []core.HintOwner, n id.Node) (i int, found bool) {
	return slices.BinarySearchFunc(owners, n, func(o core.HintOwner, n id.Node) int { return cmp.Compare(o.Node, n) })
}

// withOwner returns a copy of owners in which n's part has been changed. One
// that is left with neither data nor a marker is not among them any more.
func withOwner(owners []core.HintOwner, n id.Node, change func(o *core.HintOwner)) []core.HintOwner {
	out := slices.Clone(owners)
	i, found := findOwner(out, n)
	if !found {
		out = slices.Insert(out, i, core.HintOwner{Node: n})
	}
	change(&out[i])
	if !out[i].Data && out[i].Since == 0 {
		out = slices.Delete(out, i, i+1)
	}
	return out
}
