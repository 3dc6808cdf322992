package wire

import (
	"errors"
	"strings"
	"testing"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
)

type (
	treeCompareOf = *dynamov1.Envelope_TreeCompare
	treeDifferOf  = *dynamov1.Envelope_TreeDiffer
	bucketAskOf   = *dynamov1.Envelope_BucketAsk
	bucketReplyOf = *dynamov1.Envelope_BucketReply
)

// breakTrees returns ways to break what anti-entropy says, by the error that
// says so.
func breakTrees() map[string]breaks {
	return map[string]breaks{
		"level 3 of a hash tree": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[treeCompareOf](t, b)
			m.TreeCompare.Level = 3
		},
		"31 bytes of hashes for 2 nodes": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[treeCompareOf](t, b)
			m.TreeCompare.Hashes = m.TreeCompare.Hashes[1:]
		},
		"0 bytes of hashes for 0 nodes": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[treeCompareOf](t, b)
			m.TreeCompare.Hashes, m.TreeCompare.Nodes = nil, nil
		},
		"nodes 1000 and 1000 do not ascend": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[treeCompareOf](t, b)
			m.TreeCompare.Nodes[0] = 1000
		},
		"1025 nodes": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[treeDifferOf](t, b)
			m.TreeDiffer.Elsewhere = make([]uint32, core.MaxTreeNodes+1)
		},
		"nodes 2 and 1 do not ascend": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[treeDifferOf](t, b)
			m.TreeDiffer.Unknown = []uint32{2, 1}
		},
		"33 leaves": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[bucketAskOf](t, b)
			m.BucketAsk.Leaves = make([]uint32, core.MaxBucketLeaves+1)
		},
		"goes on after a key of 2049 bytes": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[bucketAskOf](t, b)
			m.BucketAsk.After = longKey()
		},
		"a list of 257 keys": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[bucketReplyOf](t, b)
			m.BucketReply.Keys = make([]*dynamov1.KeyHash, core.MaxBucketKeys+1)
		},
		"key 1 of 1: a key of 0 bytes": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[bucketReplyOf](t, b)
			m.BucketReply.Keys[0].Key = nil
		},
		"key 1 of 1 has a hash of 15 bytes": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[bucketReplyOf](t, b)
			m.BucketReply.Keys[0].Hash = m.BucketReply.Keys[0].Hash[1:]
		},
	}
}

// Trees of another format cannot be compared: as with any message that only a
// newer node knows, the envelope is skipped.
func TestTreesOfAnotherFormatAreSkipped(t *testing.T) {
	b := good(t)
	_, m := only[treeCompareOf](t, b)
	m.TreeCompare.Format = 2
	got, r, err := decode(0, marshal(t, b))
	if len(got) != 0 || r != (Result{Unknown: 1}) || err != nil {
		t.Errorf("%d envelopes, %+v, %v", len(got), r, err)
	}
}

// Numbers take one byte on the wire and four in memory, before anybody can
// look at them.
func TestTreeMessagesAreBoundedBeforeTheyAreDecoded(t *testing.T) {
	for name, m := range map[string]*dynamov1.Envelope{
		"compare": {Message: &dynamov1.Envelope_TreeCompare{TreeCompare: &dynamov1.TreeCompare{Hashes: make([]byte, maxTreeMessage)}}},
		"differ":  {Message: &dynamov1.Envelope_TreeDiffer{TreeDiffer: &dynamov1.TreeDiffer{Differ: make([]uint32, maxTreeMessage)}}},
		"ask":     {Message: &dynamov1.Envelope_BucketAsk{BucketAsk: &dynamov1.BucketAsk{Leaves: make([]uint32, maxTreeMessage)}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := decode(0, marshal(t, &dynamov1.Batch{From: "n1", Envelopes: []*dynamov1.Envelope{m}}))
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "bytes of a hash tree") {
				t.Errorf("%v", err)
			}
		})
	}
	keys := &dynamov1.Envelope{Message: &dynamov1.Envelope_BucketReply{
		BucketReply: &dynamov1.BucketReply{Keys: make([]*dynamov1.KeyHash, maxElements+1)},
	}}
	_, _, err := decode(0, marshal(t, &dynamov1.Batch{From: "n1", Envelopes: []*dynamov1.Envelope{keys}}))
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "more than 32768 items, keys") {
		t.Errorf("%v", err)
	}
}

// The largest honest messages pass.
func TestTheLargestTreeMessagesPass(t *testing.T) {
	compare := &core.TreeCompare{Level: 2}
	differ := &core.TreeDiffer{}
	for i := range uint32(core.MaxTreeNodes) {
		n := 1<<32 - core.MaxTreeNodes + i
		compare.Nodes = append(compare.Nodes, n)
		compare.Hashes = append(compare.Hashes, core.TreeHash{^uint64(0), 1})
		differ.Differ = append(differ.Differ, n)
	}
	reply := &core.BucketReply{More: true}
	for range core.MaxBucketKeys {
		reply.Keys = append(reply.Keys, core.KeyHash{Key: longKey()[1:]})
	}
	ask := &core.BucketAsk{After: longKey()[1:]}
	for i := range uint32(core.MaxBucketLeaves) {
		ask.Leaves = append(ask.Leaves, i)
	}
	for _, m := range []core.Message{compare, differ, ask, reply} {
		e := sampleEnvelope(t, m)
		got, _, err := decode(0, encode(0, e))
		if err != nil || len(got) != 1 {
			t.Errorf("%T: %v", m, err)
		}
		if Size(&e) > MaxBatchBytes {
			t.Errorf("%T takes %d bytes", m, Size(&e))
		}
	}
}
