package wire

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

// The numbers in peer.proto of the fields of a batch, and of those of an
// envelope that every put and get has.
const (
	batchFrom         = 1
	batchTo           = 2
	batchCluster      = 3
	batchEnvelopes    = 4
	envelopeApply     = 7
	envelopeApplied   = 8
	envelopeRead      = 9
	envelopeReadReply = 10
)

// Decoder reads batches. It keeps its memory from one to the next, so that the
// messages of every put and get are read without an allocation but for what is
// handed over. The zero Decoder is ready; one goroutine uses it at a time.
type Decoder struct {
	from, to  id.Node // of the last batch
	cluster   uint64
	envelopes []part
	slot      *slot // nil before the first one
}

// part is one envelope of a batch in its encoding, and the number of the field
// that has its message, where it is a frequent one.
type part struct {
	bytes   []byte
	message protowire.Number
}

// Decode hands the envelopes of a message to deliver, one after another; now
// is Mono. After the first envelope that is malformed it stops and returns an
// error: what stood before it has been handed over. It keeps nothing of b.
func (d *Decoder) Decode(now time.Duration, b []byte, deliver func(*core.Envelope)) (Result, error) {
	defer d.release()
	var r Result
	if err := d.batch(b); err != nil {
		return r, err
	}
	for i, p := range d.envelopes {
		e, err := d.envelope(now, p)
		switch {
		case errors.Is(err, errUnknown):
			r.Unknown++
			continue
		case err != nil:
			return r, fmt.Errorf("%w: envelope %d of %d from %s: %w", ErrInvalid, i+1, len(d.envelopes), d.from, err)
		}
		e.From, e.To, e.Cluster = d.from, d.to, d.cluster
		deliver(e)
		r.Delivered++
	}
	return r, nil
}

// DecodeHello returns who greets.
func DecodeHello(b []byte) (id.Node, error) {
	var d Decoder
	err := d.batch(b)
	return d.from, err
}

// release lets go of the batch.
func (d *Decoder) release() {
	clear(d.envelopes)
	d.envelopes = d.envelopes[:0]
	if d.slot != nil {
		d.slot.reset()
	}
}

// batch reads all but the envelopes, of which it counts what they repeat.
func (d *Decoder) batch(b []byte) error {
	if len(b) > id.MaxMessageBytes {
		return fmt.Errorf("%w: %d bytes; at most %d are allowed", ErrInvalid, len(b), id.MaxMessageBytes)
	}
	var from, to []byte
	var s scan
	d.cluster = 0
	for len(b) > 0 {
		f, rest, err := next(b)
		switch {
		case err != nil:
		case f.num == batchFrom:
			from = f.bytes
		case f.num == batchTo:
			to = f.bytes
		case f.num == batchCluster:
			d.cluster = f.number
		case f.num == batchEnvelopes:
			p := part{bytes: f.bytes}
			p.message, err = s.envelope(p.bytes)
			d.envelopes = append(d.envelopes, p)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		b = rest
	}
	var err error
	if d.from, err = parseName(d.from, from); err != nil {
		return fmt.Errorf("%w: sender: %w", ErrInvalid, err)
	}
	if len(to) == 0 {
		d.to = ""
	} else if d.to, err = parseName(d.to, to); err != nil {
		return fmt.Errorf("%w: receiver: %w", ErrInvalid, err)
	}
	return nil
}

// parseName checks a node ID, which most often is the one of the last batch.
func parseName(last id.Node, b []byte) (id.Node, error) {
	if last != "" && string(b) == string(last) {
		return last, nil
	}
	return id.ParseNode(string(b))
}

// envelope decodes into memory that it uses again: what is frequent finds its
// structs there, and is not made anew.
func (d *Decoder) envelope(now time.Duration, p part) (*core.Envelope, error) {
	if d.slot == nil {
		d.slot = newSlot()
	}
	s := d.slot
	s.reset()
	switch int32(p.message) {
	case envelopeApply:
		s.envelope.Message = &s.applyOf
	case envelopeApplied:
		s.envelope.Message = &s.appliedOf
	case envelopeRead:
		s.envelope.Message = &s.readOf
	case envelopeReadReply:
		s.envelope.Message = &s.replyOf
	}
	if err := s.envelope.UnmarshalVT(p.bytes); err != nil {
		return nil, err
	}
	return envelope(now, &s.envelope)
}
