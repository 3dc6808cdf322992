package core

import (
	"encoding/binary"
	"time"

	"github.com/dynamo-kv/dynamo/internal/ring"
)

// TreeHash is a hash of package merkle as messages carry it.
type TreeHash [2]uint64

// The messages of anti-entropy, between two owners of a partition. Both are
// requests of the one that takes the first step; each is answered by its reply
// or by Refused, and may be repeated at will.
type (
	// TreeCompare asks which of the sender's hashes are not the receiver's.
	// Level is that of package merkle. Of roots, at level 0, many partitions'
	// are compared at once, and the nodes are those partitions; below, the
	// nodes are those of the envelope's partition. Reply: TreeDiffer.
	TreeCompare struct {
		Level  uint8
		Nodes  []uint32 // ascending
		Hashes []TreeHash
	}
	// TreeDiffer has nodes of a TreeCompare, ascending: those whose hashes
	// differ, those of partitions for which the receiver has no tree now, and
	// the partitions of its other shards, which are to be asked again.
	TreeDiffer struct {
		Differ    []uint32
		Unknown   []uint32
		Elsewhere []uint32
	}
	// BucketAsk asks for the keys in leaves of the partition's tree, in the
	// store's order, after a key. Reply: BucketReply.
	BucketAsk struct {
		Leaves []uint32 // ascending
		After  []byte   // nil from the start
	}
	// BucketReply has the keys with the hashes of their states.
	BucketReply struct {
		Keys []KeyHash
		More bool // the leaves have more after the last of these keys
	}
)

func (*TreeCompare) message() {}
func (*TreeDiffer) message()  {}
func (*BucketAsk) message()   {}
func (*BucketReply) message() {}

// KeyHash is a key with the hash of its state.
type KeyHash struct {
	Key  []byte
	Hash TreeHash
}

// The limits of one message of anti-entropy.
const (
	// MaxTreeNodes bounds the nodes of a comparison: every leaf of a tree, or
	// the roots of as many partitions, 18 KiB.
	MaxTreeNodes = 1024
	// MaxBucketLeaves bounds the leaves that are listed at once, each of which
	// costs a scan.
	MaxBucketLeaves = 32
	// MaxBucketKeys bounds a list of keys, to half a MiB of the longest: a scan
	// of as many records does not hold up the requests that share its loop.
	MaxBucketKeys = 256
)

// TreeKey returns where the hash tree of a partition is saved.
func TreeKey(p ring.Partition) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefixTree}, uint32(p))
}

// SavedTrees returns the range [from, to) of every saved hash tree.
func SavedTrees() (from, to []byte) { return []byte{prefixTree}, []byte{prefixTree + 1} }

// TreePartition returns the partition whose saved tree a key of the store
// holds; ok is false for other keys.
func TreePartition(key []byte) (p ring.Partition, ok bool) {
	if len(key) != 1+4 || key[0] != prefixTree {
		return 0, false
	}
	return ring.Partition(binary.BigEndian.Uint32(key[1:])), true
}

// DataPosition returns the ring position of a data key.
func DataPosition(dataKey []byte) ring.Position {
	return ring.Position(binary.BigEndian.Uint64(dataKey[1:]))
}

// TreeReport tells how far anti-entropy has come: in one shard, or in all.
type TreeReport struct {
	// Building counts the partitions owned here whose hash tree is not ready.
	Building int
	// Pairs counts the partitions that this node compares, once for each peer
	// that it compares them with; Compared counts those that have been
	// compared since the layouts changed or the process started.
	Pairs, Compared int
	// Since is Wall: every pair has been compared after it. 0: one has not.
	Since time.Duration

	// The counts since the start of the process.
	Exchanges uint64 // begun with a peer
	Differing uint64 // partitions that were found to differ
	Repaired  uint64 // keys changed, here or at the peer
	Built     uint64 // trees computed from the data
	Loaded    uint64 // trees taken over from the last clean stop
	Wrong     uint64 // trees found not to be those of their data: always 0, but for bugs and broken disks
}

// Plus returns the report of both.
func (r TreeReport) Plus(o TreeReport) TreeReport {
	switch {
	case r.Pairs == 0:
		r.Since = o.Since
	case o.Pairs > 0:
		r.Since = min(r.Since, o.Since)
	}
	r.Building += o.Building
	r.Pairs += o.Pairs
	r.Compared += o.Compared
	r.Exchanges += o.Exchanges
	r.Differing += o.Differing
	r.Repaired += o.Repaired
	r.Built += o.Built
	r.Loaded += o.Loaded
	r.Wrong += o.Wrong
	return r
}
