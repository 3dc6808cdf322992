package wire

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// The numbers in peer.proto of the fields that repeat, and of those on the
// way to them.
const (
	envelopeGossip      = 14
	envelopeGossipReply = 15
	envelopePullReply   = 17
	envelopeConfirm     = 35
	envelopeForget      = 37
	gossipStateField    = 1
	stateMembers        = 2
	stateVersions       = 7 // with the layouts and the buckets in between
	pullReplyItems      = 1
	envelopeTreeCompare = 25
	envelopeTreeDiffer  = 26
	envelopeBucketAsk   = 27
	envelopeBucketReply = 28
	bucketReplyKeys     = 1
	confirmKeys         = 4
	forgetKeys          = 3
)

// scan counts what a message repeats before anything is allocated for it: an
// empty element takes 2 bytes in a message and a hundred times as much in
// memory. Fields that occur several times add up, as they do when decoded.
type scan struct{ envelopes, elements int }

// envelope counts one more, and returns the number of the field that has its
// message, where it is a frequent one.
func (s *scan) envelope(b []byte) (message protowire.Number, err error) {
	if s.envelopes++; s.envelopes > MaxBatchEnvelopes {
		return 0, fmt.Errorf("more than %d envelopes", MaxBatchEnvelopes)
	}
	return message, fields(b, func(num protowire.Number, v []byte) error {
		if num <= envelopeReadReply {
			message = num
		}
		if num == envelopePullReply {
			return s.count(v, pullReplyItems, pullReplyItems)
		}
		if num == envelopeConfirm {
			return s.count(v, confirmKeys, confirmKeys)
		}
		if num == envelopeForget {
			return s.count(v, forgetKeys, forgetKeys)
		}
		if num == envelopeGossip || num == envelopeGossipReply {
			return s.gossip(v)
		}
		if num == envelopeBucketReply {
			return s.count(v, bucketReplyKeys, bucketReplyKeys)
		}
		if num >= envelopeTreeCompare && num <= envelopeBucketAsk && len(v) > maxTreeMessage {
			return fmt.Errorf("%d bytes of a hash tree; at most %d are allowed", len(v), maxTreeMessage)
		}
		return nil
	})
}

func (s *scan) gossip(b []byte) error {
	return fields(b, func(num protowire.Number, v []byte) error {
		if num != gossipStateField {
			return nil
		}
		return s.count(v, stateMembers, stateVersions)
	})
}

// count adds the fields with the numbers from first to last.
func (s *scan) count(b []byte, first, last protowire.Number) error {
	return fields(b, func(num protowire.Number, _ []byte) error {
		if num < first || num > last {
			return nil
		}
		if s.elements++; s.elements > maxElements {
			return fmt.Errorf("more than %d items, keys, members and versions", maxElements)
		}
		return nil
	})
}

// field is one field of a message: of those with a length their bytes, of
// those of eight bytes their number. Others are only skipped.
type field struct {
	num    protowire.Number
	typ    protowire.Type
	bytes  []byte
	number uint64
}

// next splits off the first field of the message b.
func next(b []byte) (f field, rest []byte, err error) {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 {
		return field{}, nil, protowire.ParseError(n)
	}
	f.num, f.typ = num, typ
	b = b[n:]
	switch typ {
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(b)
	case protowire.Fixed64Type:
		f.number, n = protowire.ConsumeFixed64(b)
	default:
		n = protowire.ConsumeFieldValue(num, typ, b)
	}
	if n < 0 {
		return field{}, nil, protowire.ParseError(n)
	}
	return f, b[n:], nil
}

// fields calls f for each field of the message b that has a length, which are
// the ones that can repeat without bound, and skips all others.
func fields(b []byte, f func(num protowire.Number, v []byte) error) error {
	for len(b) > 0 {
		var one field
		var err error
		if one, b, err = next(b); err != nil {
			return err
		}
		if one.typ != protowire.BytesType {
			continue
		}
		if err := f(one.num, one.bytes); err != nil {
			return err
		}
	}
	return nil
}
