package forget

import (
	"cmp"
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

const (
	// A chunk of a scan: large enough to be worth the read, small enough not
	// to hold up the requests that share its loop.
	chunkKeys  = 256
	chunkBytes = 64 << 10

	// maxRoundBytes bounds the keys of one round by their length: it is one
	// message, for each member.
	maxRoundBytes = 256 << 10

	// maxWaitingBytes bounds the memory for the keys that wait for their second
	// round: some 500,000 a shard. Past it no new round begins.
	maxWaitingBytes = 32 << 20

	// keyOverhead is what a waiting key takes beside its own bytes, and
	// roundOverhead what a round takes beside its keys.
	keyOverhead   = 40
	roundOverhead = 256
)

// scan is one partition to look through, again and again.
type scan struct {
	partition ring.Partition
	due       time.Duration
	after     []byte // the last key that was looked at; nil: from the start
}

// found is what the scan under way has found so far.
type found struct {
	keys  []core.KeyDigest
	bytes int
}

func (t *found) full() bool { return len(t.keys) >= core.MaxForgetKeys || t.bytes >= maxRoundBytes }

// planScans lists the partitions that this node reaps. Their first scans are
// spread over an interval, so that they do not all come at once.
func (f *Forget) planScans(now core.Now) {
	f.scans, f.found = nil, found{}
	if f.layout == nil {
		return
	}
	for p := f.config.Shard; p < f.layout.Partitions(); p += f.config.Shards {
		if f.layout.Owners(ring.Partition(p))[0] == f.config.Self {
			due := now.Mono + time.Duration(f.rng.Int64N(int64(f.config.Interval)))
			f.scans = append(f.scans, scan{partition: ring.Partition(p), due: due})
		}
	}
	slices.SortStableFunc(f.scans, func(a, b scan) int { return cmp.Compare(a.due, b.due) })
}

// scan looks through one chunk of the next partition, and begins a round when
// there is enough for one or the partition ends.
func (f *Forget) scan(now core.Now, out *core.Out) {
	s := &f.scans[0]
	if f.waitingBytes >= maxWaitingBytes {
		f.found = found{}
		f.endScan(now)
		return
	}
	first, last := f.layout.Range(s.partition)
	items, done, _ := f.local.Chunk(first, last, s.after, core.Limit{Keys: chunkKeys, Bytes: chunkBytes}, out)
	if out.Failed != nil {
		return
	}
	s.due = now.Mono
	f.gate.Spend(now.Mono, &f.slot, admission.MessageCost)
	for _, item := range items {
		if f.found.full() {
			done = false
			break
		}
		s.after = item.Key
		f.gate.Spend(now.Mono, &f.slot, admission.ItemCost+item.Set.Size())
		if forgettable(item.Set) && !f.underWay(item.Key) {
			f.found.keys = append(f.found.keys, core.KeyDigest{Key: item.Key, Digest: digestOf(item.Set)})
			f.found.bytes += len(item.Key)
		}
	}
	partition, batch := s.partition, f.found
	if done {
		f.endScan(now)
	}
	if len(batch.keys) > 0 && (done || batch.full()) {
		f.found = found{}
		f.beginFirst(now, partition, batch.keys, out)
	}
}

// endScan puts the current partition off by an interval.
func (f *Forget) endScan(now core.Now) {
	s := f.scans[0]
	s.after, s.due = nil, now.Mono+f.config.Interval
	at, _ := slices.BinarySearchFunc(f.scans[1:], s.due, func(s scan, due time.Duration) int {
		if s.due <= due {
			return -1
		}
		return 1
	})
	f.scans = slices.Insert(f.scans[1:], at, s)
}

// underWay says that a key is in a round that waits for its second step, and
// has not changed since.
func (f *Forget) underWay(key []byte) bool {
	round, ok := f.tokens.round(ring.Hash(key))
	return ok && f.rounds[round] != nil
}
