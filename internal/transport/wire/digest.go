package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

// Upper bounds of what the parts of a digest take.
const (
	bucketBytes  = fieldBytes + varintBytes + 2*fixedBytes + fieldBytes
	versionBytes = fieldBytes + fixedBytes + 3*varintBytes
	wantBytes    = 8
)

// maxBuckets bounds the buckets of a digest: more than members make no sense.
const maxBuckets = id.MaxMembers

// digest writes a digest into a message.
func digest(out *dynamov1.GossipState, d *core.Digest) {
	out.Buckets = d.Buckets
	for i := range d.Chunk {
		b := &d.Chunk[i]
		out.Chunk = append(out.Chunk, &dynamov1.Bucket{Index: b.Index, Who: b.Who, What: b.What, Heartbeats: varints(b.Heartbeats)})
	}
	for _, v := range d.Versions {
		out.Versions = append(out.Versions, &dynamov1.RecordVersion{
			Member: v.Member, Incarnation: v.Incarnation, Changed: v.Changed, Heartbeat: v.Heartbeat,
		})
	}
}

// varints encodes numbers one after another; none is empty.
func varints(numbers []uint64) []byte {
	if len(numbers) == 0 {
		return nil
	}
	b := make([]byte, 0, 4*len(numbers))
	for _, n := range numbers {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

// numbers reverses varints. There are as many as members at most: a byte in a
// message would be eight in memory.
func numbers(b []byte) ([]uint64, error) {
	var out []uint64
	for len(b) > 0 {
		if len(out) == id.MaxMembers {
			return nil, fmt.Errorf("more than %d heartbeats of a bucket", id.MaxMembers)
		}
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errors.New("the heartbeats of a bucket end within a number, or one is too long")
		}
		out = append(out, v)
		b = b[n:]
	}
	return out, nil
}

// digestOf reads the digest of a message.
func digestOf(in *dynamov1.GossipState) (core.Digest, error) {
	out := core.Digest{Buckets: in.GetBuckets()}
	if out.Buckets > maxBuckets || len(in.GetChunk()) > maxBuckets || len(in.GetVersions()) > id.MaxMembers {
		return core.Digest{}, fmt.Errorf("a digest of %d buckets, %d of them here, and %d versions; at most %d of each are allowed",
			out.Buckets, len(in.GetChunk()), len(in.GetVersions()), id.MaxMembers)
	}
	beats := 0
	for _, b := range in.GetChunk() {
		heartbeats, err := numbers(b.Heartbeats)
		if err != nil {
			return core.Digest{}, err
		}
		if beats += len(heartbeats); beats > id.MaxMembers {
			return core.Digest{}, fmt.Errorf("more than %d heartbeats in a digest", id.MaxMembers)
		}
		out.Chunk = append(out.Chunk, core.Bucket{Index: b.Index, Who: b.Who, What: b.What, Heartbeats: heartbeats})
	}
	for _, v := range in.GetVersions() {
		out.Versions = append(out.Versions, core.RecordVersion{
			Member: v.Member, Incarnation: v.Incarnation, Changed: v.Changed, Heartbeat: v.Heartbeat,
		})
	}
	return out, nil
}

// wants reads whose records a message asks for.
func wants(in *dynamov1.GossipState) ([]uint64, error) {
	n := len(in.GetWants())
	if n > id.MaxMembers {
		return nil, fmt.Errorf("%d records are asked for; at most %d are allowed", n, id.MaxMembers)
	}
	if n == 0 {
		return nil, nil
	}
	return in.GetWants(), nil
}

// digestSize returns an upper bound of what a digest takes.
func digestSize(d *core.Digest) int {
	size := varintBytes + len(d.Versions)*versionBytes
	for i := range d.Chunk {
		size += bucketBytes + len(d.Chunk[i].Heartbeats)*binary.MaxVarintLen64
	}
	return size
}
