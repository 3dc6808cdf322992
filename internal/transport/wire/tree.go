package wire

import (
	"encoding/binary"
	"fmt"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

// treeFormat stands for the shape of hash trees and the functions behind their
// hashes. Between nodes of different formats every key would seem to differ,
// so a comparison of another format is not understood.
const treeFormat = 1

const (
	treeHashBytes = 16
	nodeBytes     = 5 // of a number as a varint

	// maxTreeMessage bounds a TreeCompare, a TreeDiffer and a BucketAsk, which
	// repeat numbers, each of which takes one byte here and four in memory.
	maxTreeMessage = 2*varintBytes + 3*fieldBytes + core.MaxTreeNodes*(nodeBytes+treeHashBytes) + id.MaxKeyBytes
)

func treeSize(m core.Message) int {
	switch m := m.(type) {
	case *core.TreeCompare:
		return 2*varintBytes + 2*fieldBytes + len(m.Nodes)*nodeBytes + len(m.Hashes)*treeHashBytes
	case *core.TreeDiffer:
		return 3*fieldBytes + (len(m.Differ)+len(m.Unknown)+len(m.Elsewhere))*nodeBytes
	case *core.BucketAsk:
		return 2*fieldBytes + len(m.Leaves)*nodeBytes + len(m.After)
	case *core.BucketReply:
		size := varintBytes
		for i := range m.Keys {
			size += 3*fieldBytes + len(m.Keys[i].Key) + treeHashBytes
		}
		return size
	}
	return 0
}

func appendHash(b []byte, h core.TreeHash) []byte {
	b = binary.LittleEndian.AppendUint64(b, h[0])
	return binary.LittleEndian.AppendUint64(b, h[1])
}

func hashOf(b []byte) core.TreeHash {
	return core.TreeHash{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}

func encodeTreeCompare(m *core.TreeCompare) *dynamov1.Envelope_TreeCompare {
	hashes := make([]byte, 0, len(m.Hashes)*treeHashBytes)
	for _, h := range m.Hashes {
		hashes = appendHash(hashes, h)
	}
	return &dynamov1.Envelope_TreeCompare{TreeCompare: &dynamov1.TreeCompare{
		Format: treeFormat, Level: uint32(m.Level), Nodes: m.Nodes, Hashes: hashes,
	}}
}

func encodeTreeDiffer(m *core.TreeDiffer) *dynamov1.Envelope_TreeDiffer {
	return &dynamov1.Envelope_TreeDiffer{TreeDiffer: &dynamov1.TreeDiffer{
		Differ: m.Differ, Unknown: m.Unknown, Elsewhere: m.Elsewhere,
	}}
}

func encodeBucketAsk(m *core.BucketAsk) *dynamov1.Envelope_BucketAsk {
	return &dynamov1.Envelope_BucketAsk{BucketAsk: &dynamov1.BucketAsk{Leaves: m.Leaves, After: m.After}}
}

func encodeBucketReply(m *core.BucketReply) *dynamov1.Envelope_BucketReply {
	out := &dynamov1.BucketReply{More: m.More, Keys: make([]*dynamov1.KeyHash, len(m.Keys))}
	hashes := make([]byte, 0, len(m.Keys)*treeHashBytes)
	for i := range m.Keys {
		from := len(hashes)
		hashes = appendHash(hashes, m.Keys[i].Hash)
		out.Keys[i] = &dynamov1.KeyHash{Key: m.Keys[i].Key, Hash: hashes[from:]}
	}
	return &dynamov1.Envelope_BucketReply{BucketReply: out}
}

// checkAscending checks a list of nodes, partitions or leaves: ascending, so that
// none is there twice, and not too many.
func checkAscending(what string, in []uint32, most int) error {
	if len(in) > most {
		return fmt.Errorf("%d %s; at most %d are allowed", len(in), what, most)
	}
	for i := 1; i < len(in); i++ {
		if in[i-1] >= in[i] {
			return fmt.Errorf("%s %d and %d do not ascend", what, in[i-1], in[i])
		}
	}
	return nil
}

func treeCompare(in *dynamov1.TreeCompare) (core.Message, error) {
	if in.Format != treeFormat {
		return nil, fmt.Errorf("%w: hash trees of format %d", errUnknown, in.Format)
	}
	const deepest = 2
	if in.Level > deepest {
		return nil, fmt.Errorf("level %d of a hash tree; %d is the last", in.Level, deepest)
	}
	if err := checkAscending("nodes", in.Nodes, core.MaxTreeNodes); err != nil {
		return nil, err
	}
	if len(in.Nodes) == 0 || len(in.Hashes) != len(in.Nodes)*treeHashBytes {
		return nil, fmt.Errorf("%d bytes of hashes for %d nodes", len(in.Hashes), len(in.Nodes))
	}
	out := &core.TreeCompare{Level: uint8(in.Level), Nodes: in.Nodes, Hashes: make([]core.TreeHash, len(in.Nodes))}
	for i := range out.Hashes {
		out.Hashes[i] = hashOf(in.Hashes[i*treeHashBytes:])
	}
	return out, nil
}

func treeDiffer(in *dynamov1.TreeDiffer) (core.Message, error) {
	for _, list := range [][]uint32{in.Differ, in.Unknown, in.Elsewhere} {
		if err := checkAscending("nodes", list, core.MaxTreeNodes); err != nil {
			return nil, err
		}
	}
	return &core.TreeDiffer{Differ: in.Differ, Unknown: in.Unknown, Elsewhere: in.Elsewhere}, nil
}

func bucketAsk(in *dynamov1.BucketAsk) (core.Message, error) {
	if err := checkAscending("leaves", in.Leaves, core.MaxBucketLeaves); err != nil {
		return nil, err
	}
	if len(in.After) > id.MaxKeyBytes {
		return nil, fmt.Errorf("a list of keys goes on after a key of %d bytes; at most %d are allowed", len(in.After), id.MaxKeyBytes)
	}
	return &core.BucketAsk{Leaves: in.Leaves, After: bytesOrNil(in.After)}, nil
}

func bucketReply(in *dynamov1.BucketReply) (core.Message, error) {
	if len(in.Keys) > core.MaxBucketKeys {
		return nil, fmt.Errorf("a list of %d keys; at most %d are allowed", len(in.Keys), core.MaxBucketKeys)
	}
	out := &core.BucketReply{More: in.More}
	if len(in.Keys) > 0 {
		out.Keys = make([]core.KeyHash, len(in.Keys))
	}
	for i, k := range in.Keys {
		if err := checkKey(k.Key); err != nil {
			return nil, fmt.Errorf("key %d of %d: %w", i+1, len(in.Keys), err)
		}
		if len(k.Hash) != treeHashBytes {
			return nil, fmt.Errorf("key %d of %d has a hash of %d bytes; it has %d", i+1, len(in.Keys), len(k.Hash), treeHashBytes)
		}
		out.Keys[i] = core.KeyHash{Key: k.Key, Hash: hashOf(k.Hash)}
	}
	return out, nil
}
