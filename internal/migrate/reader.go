package migrate

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// pair is what a store holds under a key.
type pair struct{ key, value []byte }

// reader reads a store in the order of its keys, a chunk at a time. What is
// written while it reads is seen or not; where it is behind the reader it is not.
type reader struct {
	ctx   context.Context //nolint:containedctx // a reader lives as long as one phase, which this ends
	store core.Store
	limit core.Limit // of a chunk
	chunk []pair     // what was read and not taken
	from  []byte     // where the next chunk begins
	ended bool       // there is none
	err   error      // why there is nothing more
}

func (r *run) reader(ctx context.Context, s core.Store) *reader {
	return &reader{ctx: ctx, store: s, limit: core.Limit{Keys: r.limits.chunkKeys, Bytes: r.limits.chunkBytes}}
}

// head returns the pair that is next; ok is false at the end, and after an error.
func (r *reader) head() (p pair, ok bool) {
	if len(r.chunk) == 0 {
		r.fill()
	}
	if len(r.chunk) == 0 {
		return pair{}, false
	}
	return r.chunk[0], true
}

// take goes on to the pair after the next.
func (r *reader) take() { r.chunk = r.chunk[1:] }

func (r *reader) fill() {
	if r.ended {
		return
	}
	r.chunk = nil
	next := []byte(nil)
	if r.err = r.ctx.Err(); r.err == nil {
		next, r.err = r.store.Scan(r.from, nil, r.limit, func(key, value []byte) bool {
			r.chunk = append(r.chunk, pair{key, value})
			return true
		})
	}
	r.from, r.ended = next, next == nil
	if r.err != nil {
		r.chunk = nil
	}
}

// digest is what a store holds, in short: equal digests are equal stores.
type digest struct {
	keys, bytes uint64
	sum         [sha256.Size]byte
}

// digester draws up a digest of pairs in their order.
type digester struct {
	digest
	hash hash.Hash
}

func newDigester() *digester { return &digester{hash: sha256.New()} }

func (d *digester) add(p pair) {
	d.keys++
	d.bytes += uint64(len(p.key) + len(p.value))
	var sizes [16]byte // so that no two sequences of pairs are the same bytes
	binary.LittleEndian.PutUint64(sizes[:], uint64(len(p.key)))
	binary.LittleEndian.PutUint64(sizes[8:], uint64(len(p.value)))
	_, _ = d.hash.Write(sizes[:]) // a hash takes everything
	_, _ = d.hash.Write(p.key)
	_, _ = d.hash.Write(p.value)
}

func (d *digester) result() digest {
	d.hash.Sum(d.sum[:0])
	return d.digest
}
