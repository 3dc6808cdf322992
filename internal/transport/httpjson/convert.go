package httpjson

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// byHand is the node in the actors of synthetic dots. Epochs keep them apart
// from those of a node that is really called so.
const byHand = "by-hand"

// bytes returns the key, checked.
func (k *Key) bytes() ([]byte, error) {
	key, err := k.decode()
	if err != nil {
		return nil, err
	}
	if len(key) == 0 || len(key) > id.MaxKeyBytes {
		return nil, fmt.Errorf("the key has %d bytes; 1 to %d are allowed", len(key), id.MaxKeyBytes)
	}
	return key, nil
}

func (k *Key) decode() ([]byte, error) {
	switch {
	case (k.Key == nil) == (k.KeyBase64 == nil):
		return nil, errors.New("give the key in one of key and key_base64")
	case k.Key != nil && strings.ContainsRune(*k.Key, utf8.RuneError):
		// JSON decoders put U+FFFD in place of half a surrogate pair.
		return nil, errors.New("the key has U+FFFD, or an escape that is half a character; give it as key_base64")
	case k.Key != nil:
		return []byte(*k.Key), nil
	}
	key, err := base64.StdEncoding.DecodeString(*k.KeyBase64)
	if err != nil {
		return nil, fmt.Errorf("key_base64 is not base64 with padding: %w", err)
	}
	return key, nil
}

// KeyOf returns a key as requests have it.
func KeyOf(key []byte) Key {
	if isText(key) {
		text := string(key)
		return Key{Key: &text}
	}
	coded := base64.StdEncoding.EncodeToString(key)
	return Key{KeyBase64: &coded}
}

// isText says whether a JSON string carries the key, and nobody doubts it.
func isText(key []byte) bool {
	return utf8.Valid(key) && !strings.ContainsRune(string(key), utf8.RuneError)
}

// SetOf returns a whole sibling set as requests have it: SetOf and set change
// nothing, either way.
func SetOf(s version.Siblings) Versions {
	clock := clockOf(s.Clock)
	return Versions{Versions: versionsOf(s), Clock: &clock}
}

// set returns the sibling set of a request for key, which holds the invariants
// of package version.
func (v *Versions) set(key []byte) (version.Siblings, error) {
	switch {
	case (v.Value == nil) == (v.Clock == nil):
		return version.Siblings{}, errors.New("give one of value, which is a version, and versions with their clock")
	case v.Value != nil && len(v.Versions) > 0:
		return version.Siblings{}, errors.New("value and versions exclude each other")
	case v.Value != nil:
		return v.Value.alone(key)
	}
	clock, err := v.Clock.clock()
	if err != nil {
		return version.Siblings{}, fmt.Errorf("clock: %w", err)
	}
	set := version.Siblings{Clock: clock}
	for i := range v.Versions {
		one, err := v.Versions[i].version()
		if err != nil {
			return version.Siblings{}, fmt.Errorf("version %d of %d: %w", i+1, len(v.Versions), err)
		}
		set.Versions = append(set.Versions, one)
	}
	slices.SortFunc(set.Versions, func(a, b version.Version) int { return a.Dot.Compare(b.Dot) })
	return set, set.Validate()
}

// alone returns the set of a version by itself: its clock is what it had seen,
// and its dot. Without a dot it gets a synthetic one.
func (v *Version) alone(key []byte) (version.Siblings, error) {
	seen, err := (&Clock{Vector: v.VectorClock}).clock()
	if err != nil {
		return version.Siblings{}, fmt.Errorf("value.vector_clock: %w", err)
	}
	out, err := v.bare()
	if err != nil {
		return version.Siblings{}, err
	}
	if v.Dot == nil {
		out.Dot = syntheticDot(key, seen, &out)
	} else if out.Dot, err = v.Dot.dot(); err != nil {
		return version.Siblings{}, fmt.Errorf("value.dot: %w", err)
	}
	set := version.Siblings{Clock: seen.With(out.Dot), Versions: []version.Version{out}}
	return set, set.Validate()
}

// syntheticDot names a version that was made by hand: by a hash of all that it
// is. So the same version has the same dot wherever and however often it is
// put, and another one has another. The actor has this one dot.
func syntheticDot(key []byte, seen version.Clock, v *version.Version) version.Dot {
	var b []byte
	for _, part := range [][]byte{key, seen.AppendBinary(nil), v.Data, v.WriteID[:]} {
		b = binary.LittleEndian.AppendUint64(b, uint64(len(part)))
		b = append(b, part...)
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(v.Timestamp))
	if v.Tombstone {
		b = append(b, 1)
	}
	h := sha256.Sum256(b)
	epoch := version.Epoch{Start: binary.BigEndian.Uint64(h[:]), Seq: 1 + uint64(binary.BigEndian.Uint32(h[8:]))}
	return version.Dot{Actor: version.Actor{Node: byHand, Epoch: epoch}, Counter: 1}
}

// version returns a version of a whole set, which has a dot of its own.
func (v *Version) version() (version.Version, error) {
	out, err := v.bare()
	if err != nil {
		return version.Version{}, err
	}
	if v.Dot == nil {
		return version.Version{}, errors.New("it has no dot, which the versions of a set have")
	}
	if out.Dot, err = v.Dot.dot(); err != nil {
		return version.Version{}, fmt.Errorf("dot: %w", err)
	}
	return out, nil
}

// bare returns all of a version but its dot.
func (v *Version) bare() (out version.Version, err error) {
	out.Tombstone = v.IsTombstone
	if len(v.Data) > 0 {
		out.Data = v.Data
	}
	if len(v.Data) > id.MaxValueBytes {
		return out, fmt.Errorf("a value of %d bytes; at most %d are allowed", len(v.Data), id.MaxValueBytes)
	}
	if v.IsTombstone && len(v.Data) > 0 {
		return out, fmt.Errorf("a tombstone has %d bytes of data; it has none", len(v.Data))
	}
	if !v.Timestamp.IsZero() {
		out.Timestamp = v.Timestamp.UnixNano()
		if !time.Unix(0, out.Timestamp).Equal(v.Timestamp.Time) {
			return out, fmt.Errorf("the timestamp is %s; those from 1678 to 2262 are allowed", v.Timestamp.Format(time.RFC3339Nano))
		}
	}
	if v.WriteID != "" {
		out.WriteID, err = version.ParseWriteID(v.WriteID)
	}
	return out, err
}

func (d *Dot) dot() (version.Dot, error) {
	a, err := parseActor(d.Actor)
	if err != nil {
		return version.Dot{}, err
	}
	if d.Counter == 0 || d.Counter > version.MaxCounter {
		return version.Dot{}, fmt.Errorf("the counter of %q is %d; 1 to %d are allowed", d.Actor, d.Counter, uint64(version.MaxCounter))
	}
	return version.Dot{Actor: a, Counter: d.Counter}, nil
}

// parseActor parses node~epoch. A name by itself, as people write it, is that
// of an actor of an epoch that no node ever draws.
func parseActor(s string) (version.Actor, error) {
	if len(s) > maxActorBytes {
		return version.Actor{}, fmt.Errorf("the actor %q: node~epoch has at most %d characters", excerpt(s), maxActorBytes)
	}
	if strings.Contains(s, "~") {
		return version.ParseActor(s)
	}
	node, err := id.ParseNode(s)
	if err != nil {
		return version.Actor{}, fmt.Errorf("the actor %q: %w", s, err)
	}
	return version.Actor{Node: node, Epoch: version.Epoch{Seq: 1}}, nil
}

// clock returns the clock, which has one form however it was written.
func (c *Clock) clock() (version.Clock, error) {
	var vector, dots []version.Dot
	for name, counter := range c.Vector { // NewClock sorts them
		d, err := (&Dot{Actor: name, Counter: counter}).dot()
		if err != nil {
			return version.Clock{}, err
		}
		vector = append(vector, d)
	}
	for i := range c.Dots {
		d, err := c.Dots[i].dot()
		if err != nil {
			return version.Clock{}, err
		}
		dots = append(dots, d)
	}
	return version.NewClock(vector, dots)
}

// versionsOf returns the versions of a set, tombstones included, in the order
// of their dots.
func versionsOf(set version.Siblings) []Version {
	out := make([]Version, len(set.Versions))
	for i := range set.Versions {
		v := &set.Versions[i]
		dot := dotOf(v.Dot)
		out[i] = Version{
			Data:        orEmpty(v.Data),
			VectorClock: clockOf(set.ClockOf(i)).Vector,
			Timestamp:   Time{time.Unix(0, v.Timestamp).UTC()},
			IsTombstone: v.Tombstone,
			Dot:         &dot,
		}
		if !v.WriteID.IsZero() {
			out[i].WriteID = v.WriteID.String()
		}
	}
	return out
}

// orEmpty returns b, which JSON would write as null where it is nil.
func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func dotOf(d version.Dot) Dot { return Dot{Actor: d.Actor.String(), Counter: d.Counter} }

func clockOf(c version.Clock) Clock {
	out := Clock{Vector: make(map[string]uint64, len(c.Vector()))}
	for _, d := range c.Vector() {
		out.Vector[d.Actor.String()] = d.Counter
	}
	for _, d := range c.Dots() {
		out.Dots = append(out.Dots, dotOf(d))
	}
	return out
}

// digits returns a number as 16 hexadecimal digits.
func digits(n uint64) string { return fmt.Sprintf("%016x", n) }

// parseDigits reverses digits; what is empty is none.
func parseDigits(what, s string, none uint64) (uint64, error) {
	if s == "" {
		return none, nil
	}
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil || len(s) != 16 {
		return 0, fmt.Errorf("%s is %q; 16 hexadecimal digits are allowed", what, excerpt(s))
	}
	return n, nil
}
