package wire

import (
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

const (
	// MaxBatchEnvelopes bounds the envelopes of one message. Batching has paid
	// off long before: the cost of a message is shared by so many already that
	// more would only add latency.
	MaxBatchEnvelopes = 1024

	// MaxBatchBytes bounds a message with more than one envelope. A larger
	// envelope travels alone. 1 MiB takes some milliseconds even on a slow
	// link, so that no small envelope waits long for the rest of its batch.
	MaxBatchBytes = 1 << 20

	// MaxEnvelopeBytes bounds an envelope by Size: with the header of its
	// batch it fills a message of id.MaxMessageBytes.
	MaxEnvelopeBytes = id.MaxMessageBytes - headerBytes

	// MaxAddrBytes bounds an address: a host name of 253 bytes, brackets, a
	// colon and a port.
	MaxAddrBytes = 253 + 2 + 1 + 5

	// maxElements bounds the items and member records of one message, of which
	// the shortest take a few bytes here and hundreds in memory. MaxBatchBytes
	// has no room for more real ones.
	maxElements = 1 << 15

	// maxReplicas bounds the replicas that a request may ask for or count.
	maxReplicas = id.MaxMembers
)

// Upper bounds of lengths in the encoding. A field has a tag of at most 2
// bytes; a string or a message also has its length, of at most 5.
const (
	fieldBytes    = 2 + 5
	varintBytes   = 2 + 10
	fixedBytes    = 2 + 8
	headerBytes   = 2*(fieldBytes+id.MaxNodeBytes) + fixedBytes
	envelopeBytes = fieldBytes + fixedBytes + 4*varintBytes + fixedBytes + fieldBytes + fieldBytes + traceBytes
	memberBytes   = fieldBytes + 4*fieldBytes + 5*fixedBytes + 7*varintBytes + varintBytes
	resultBytes   = fieldBytes + 5*varintBytes + 2*fieldBytes
	forwardBytes  = 2*fixedBytes + 4*varintBytes + 3*fieldBytes + fieldBytes + 4*varintBytes + fieldBytes + len(version.WriteID{})

	// clockEntryBytes bounds an entry of a clock or an isolated dot: an actor
	// with the longest node ID.
	clockEntryBytes = 1 + id.MaxNodeBytes + 8 + 10 + 10
	clockBytes      = 1 + 2*10
	layoutBytes     = fieldBytes + 1 + 1 + 4*10 + 8 + 10 + 8
	ringMemberBytes = 3 * 10
	ownerBytes      = 2
	indexBytes      = 2 // of an index below core.MaxForgetKeys
)

// Size returns an upper bound, and a close one, of what e takes in a message.
// It is what outboxes count.
func Size(e *core.Envelope) int {
	return envelopeBytes + messageSize(e.Msg)
}

func messageSize(m core.Message) int {
	switch m := m.(type) {
	case *core.Apply:
		return 2*fieldBytes + len(m.Key) + m.Set.Size()
	case *core.Hint:
		return 3*fieldBytes + len(m.Key) + m.Set.Size() + len(m.Owner)
	case *core.Read:
		return fieldBytes + len(m.Key) + varintBytes
	case *core.ReadReply:
		return fieldBytes + m.Set.Size()
	case *core.Forward:
		return forwardBytes + len(m.Key) + len(m.Value) + clockSize(m.Context)
	case *core.Forwarded:
		return resultBytes + m.Result.Set.Size() + clockSize(m.Result.Context)
	case *core.Pull:
		return varintBytes + fixedBytes + fieldBytes + len(m.After)
	case *core.PullReply:
		return varintBytes + itemsSize(m.Items)
	case *core.Gossip:
		return stateSize(m.State)
	case *core.GossipReply:
		return stateSize(m.State)
	case *core.Confirm:
		return 2*varintBytes + fixedBytes + keyDigestsSize(m.Keys)
	case *core.Forget:
		return varintBytes + fixedBytes + keyDigestsSize(m.Keys)
	case *core.Confirmed:
		return exceptSize(m.Except)
	case *core.Forgotten:
		return exceptSize(m.Except)
	case *core.Refused:
		return varintBytes
	}
	return treeSize(m)
}

func clockSize(c version.Clock) int { return clockBytes + c.Len()*clockEntryBytes }

func itemsSize(items []core.Item) int {
	size := 0
	for i := range items {
		size += 3*fieldBytes + len(items[i].Key) + items[i].Set.Size()
	}
	return size
}

func keyDigestsSize(keys []core.KeyDigest) int {
	size := 0
	for i := range keys {
		size += 2*fieldBytes + fixedBytes + len(keys[i].Key)
	}
	return size
}

// exceptSize bounds a packed list of indexes below core.MaxForgetKeys.
func exceptSize(except []uint32) int { return fieldBytes + indexBytes*len(except) }

func stateSize(s core.GossipState) int {
	size := fieldBytes + fixedBytes + varintBytes
	for i := range s.Members {
		m := &s.Members[i]
		size += memberBytes + len(m.ID) + len(m.Addr) + len(m.Zone) + len(m.Datacentre)
	}
	for _, l := range s.Layouts.Live {
		size += layoutSize(l)
	}
	return size + digestSize(&s.Digest) + fieldBytes + len(s.Wants)*wantBytes
}

func layoutSize(l *ring.Layout) int {
	size := layoutBytes + l.Partitions()*l.OwnerCount()*ownerBytes
	for _, m := range l.Members() {
		size += ringMemberBytes + len(m.ID) + len(m.Zone)
	}
	return size
}
