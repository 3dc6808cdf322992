package version

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/dynamo-kv/dynamo/internal/id"
)

// ErrMalformed is what every parser and decoder of this package wraps, the
// context token's aside, which has ErrContextMalformed.
var ErrMalformed = errors.New("malformed")

// MaxCounter bounds the counters that decoders accept, so that the counter
// after any that came from outside exists. No actor writes that often.
const MaxCounter = math.MaxInt64

// Epoch tells the lives of a node's counters apart: a counter is never reused
// since whoever could not know its last one takes a fresh epoch.
type Epoch struct {
	Start uint64 // nonce that the node draws at each start
	Seq   uint64 // counter in memory; it starts at 1, so that no epoch is zero
}

// IsZero says whether e is none: no dot carries it.
func (e Epoch) IsZero() bool { return e == Epoch{} }

// String returns 16 hexadecimal digits of the start, a dot, the sequence.
func (e Epoch) String() string { return fmt.Sprintf("%016x.%d", e.Start, e.Seq) }

// Compare orders epochs by start, then sequence. The order is for sorting
// only: starts are random, so it says nothing about time.
func (e Epoch) Compare(o Epoch) int {
	if e.Start != o.Start {
		return cmp.Compare(e.Start, o.Start)
	}
	return cmp.Compare(e.Seq, o.Seq)
}

// Actor is who mints dots: a node in one epoch.
type Actor struct {
	Node  id.Node
	Epoch Epoch
}

// String returns "node~epoch". No node ID has a '~'.
func (a Actor) String() string { return string(a.Node) + "~" + a.Epoch.String() }

// Compare orders actors by node, start and sequence.
func (a Actor) Compare(o Actor) int {
	if a.Node != o.Node {
		return strings.Compare(string(a.Node), string(o.Node))
	}
	return a.Epoch.Compare(o.Epoch)
}

// validate checks an actor that came from outside.
func (a Actor) validate() error {
	if _, err := id.ParseNode(string(a.Node)); err != nil {
		return fmt.Errorf("%w actor: %w", ErrMalformed, err)
	}
	if a.Epoch.IsZero() {
		return fmt.Errorf("%w actor: node %s has no epoch", ErrMalformed, a.Node)
	}
	return nil
}

// ParseActor parses what String returns, and nothing else.
func ParseActor(s string) (Actor, error) {
	node, epoch, _ := strings.Cut(s, "~")
	start, seq, _ := strings.Cut(epoch, ".")
	st, err1 := strconv.ParseUint(start, 16, 64)
	sq, err2 := strconv.ParseUint(seq, 10, 64)
	a := Actor{Node: id.Node(node), Epoch: Epoch{Start: st, Seq: sq}}
	if err1 != nil || err2 != nil || a.String() != s {
		return Actor{}, fmt.Errorf("%w actor %q: use node~start.sequence, the start in 16 lower-case hexadecimal digits, the sequence in decimal", ErrMalformed, s)
	}
	if err := a.validate(); err != nil {
		return Actor{}, err
	}
	return a, nil
}

// Dot is the unique name of one write to one key.
type Dot struct {
	Actor   Actor
	Counter uint64 // from 1; 0 names no write
}

// String returns "actor:counter".
func (d Dot) String() string { return d.Actor.String() + ":" + strconv.FormatUint(d.Counter, 10) }

// Compare orders dots by actor, then counter. Only for dots of one actor does
// the order say which came first.
func (d Dot) Compare(o Dot) int {
	if order := d.Actor.Compare(o.Actor); order != 0 {
		return order
	}
	return cmp.Compare(d.Counter, o.Counter)
}

// validate checks a dot that came from outside.
func (d Dot) validate() error {
	if d.Counter == 0 || d.Counter > MaxCounter {
		return fmt.Errorf("%w dot: counter %d; 1 to %d are allowed", ErrMalformed, d.Counter, uint64(MaxCounter))
	}
	return d.Actor.validate()
}

// mustName panics when d cannot be the name of a write: a caller that adds
// such a dot would break every set that it reaches.
func (d Dot) mustName() {
	if err := d.validate(); err != nil {
		panic(fmt.Sprintf("version: %s does not name a write: %v", d, err))
	}
}

// WriteID names a client's request over its retries. Zero is none.
type WriteID [16]byte

// IsZero says whether w is none.
func (w WriteID) IsZero() bool { return w == WriteID{} }

// String returns 32 lower-case hexadecimal digits.
func (w WriteID) String() string { return hex.EncodeToString(w[:]) }

// maxIdempotencyKey bounds an idempotency key: it is hashed, so longer would
// only cost.
const maxIdempotencyKey = 255

// WriteIDFrom returns the write ID of an idempotency key: 32 hexadecimal
// digits are the ID itself, any other text of 1 to 255 bytes is hashed to 128
// bits.
func WriteIDFrom(key string) (WriteID, error) {
	if key == "" || len(key) > maxIdempotencyKey {
		return WriteID{}, fmt.Errorf("the idempotency key has %d bytes; 1 to %d are allowed", len(key), maxIdempotencyKey)
	}
	if w, err := ParseWriteID(key); err == nil {
		if w.IsZero() {
			return WriteID{}, errors.New("the idempotency key is all zeros, which stands for none; draw it at random")
		}
		return w, nil
	}
	sum := sha256.Sum256([]byte(key))
	return WriteID(sum[:len(WriteID{})]), nil
}

// ParseWriteID parses 32 hexadecimal digits of either case.
func ParseWriteID(s string) (WriteID, error) {
	var w WriteID
	if len(s) != hex.EncodedLen(len(w)) {
		return WriteID{}, fmt.Errorf("%w write ID: %d characters; use 32 hexadecimal digits", ErrMalformed, len(s))
	}
	if _, err := hex.Decode(w[:], []byte(s)); err != nil {
		return WriteID{}, fmt.Errorf("%w write ID %q: use 32 hexadecimal digits", ErrMalformed, s)
	}
	return w, nil
}
