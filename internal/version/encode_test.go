package version

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// requireRoundTrip checks that s decodes to itself, has its Size, and leaves
// what follows it alone.
func requireRoundTrip(t rapid.TB, s Siblings) {
	t.Helper()
	b := s.AppendBinary([]byte("head"))[4:]
	if anew := bare(s).AppendBinary(nil); !bytes.Equal(anew, b) || bare(s).Size() != len(b) {
		t.Fatalf("%v has the encoding %q, of %d bytes by Size(), and is encoded as %q", s, b, bare(s).Size(), anew)
	}
	if known := s.Encoded(); known != nil && !bytes.Equal(known, b) || bare(s).Encoded() != nil {
		t.Fatalf("%v knows the encoding %q, and is encoded as %q", s, known, b)
	}
	whole, own := s.Encode([]byte("head"))
	if string(whole) != "head"+string(b) || cap(whole) != len(whole) || !own.Equal(s) {
		t.Fatalf("%v encodes behind a head as %q, and to %v", s, whole, own)
	}
	if len(b) != s.Size() {
		t.Fatalf("%v: Size() = %d, the encoding has %d bytes", s, s.Size(), len(b))
	}
	got, rest, err := DecodeSiblings(append(b, "tail"...))
	if err != nil || string(rest) != "tail" || !got.Equal(s) {
		t.Fatalf("%v decodes to %v, %q, %v", s, got, rest, err)
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := genSiblings(t)
		requireRoundTrip(t, s)

		b := s.Clock.AppendBinary(nil)
		c, rest, err := DecodeClock(append(b, "tail"...))
		if err != nil || string(rest) != "tail" || !c.Equal(s.Clock) {
			t.Fatalf("%s decodes to %s, %q, %v", s.Clock, c, rest, err)
		}
	})
}

// TestRoundTripAtTheLimits has high counters, any starts and timestamps.
func TestRoundTripAtTheLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s Siblings
		for _, start := range rapid.SliceOfNDistinct(rapid.Uint64Min(1), 1, 10, rapid.ID[uint64]).Draw(t, "starts") {
			a := Actor{"a", Epoch{Start: start}}
			c := DotClock(Dot{a, rapid.SampledFrom([]uint64{1, 2, 127, 128, 1 << 20, MaxCounter - 1}).Draw(t, "counter")})
			s, _ = s.Put(c, a, Write{Timestamp: rapid.Int64().Draw(t, "timestamp")})
		}
		requireRoundTrip(t, s)
	})
}

// TestManyActors has more actors than one byte can index.
func TestManyActors(t *testing.T) {
	for _, n := range []int{127, 128, 129, 300} {
		var s Siblings
		for i := range n {
			a := Actor{"a", Epoch{Start: uint64(i + 1)}}
			s, _ = s.Put(DotClock(Dot{a, uint64(1 + i%3)}), a, Write{})
		}
		requireRoundTrip(t, s)
	}
}

// TestFormat pins the bytes: a change of format needs a new version byte.
func TestFormat(t *testing.T) {
	s := Siblings{}
	s, _ = s.Put(Clock{}, actor("a1"), Write{Data: []byte("xy"), Timestamp: 1})
	s, _ = s.Put(DotClock(dot("a2", 4)), actor("a2"), Write{Tombstone: true, Timestamp: -1, ID: WriteID{15: 7}})
	want := strings.Join([]string{
		"01",                                       // format
		"02",                                       // actors
		"01", "61", "0100000000000000", "01", "01", // a, start 1, seq 1, counter 1
		"00", "0200000000000000", "01", "00", // the same node, start 2, no counter
		"02", "01", "02", "01", "00", // isolated: second actor, 2+2; then 5+0
		"02",                                               // versions
		"00", "01", "00", "0100000000000000", "02", "7879", // a1:1 "xy"
		"01", "05", "03", "00000000000000000000000000000007", "ffffffffffffffff", "00", // a2:5
	}, "")
	if got := hex.EncodeToString(s.AppendBinary(nil)); got != want {
		t.Errorf("encoded as\n%s, want\n%s", got, want)
	}
}

func TestEveryPrefixIsRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := genSiblings(t)
		b := s.AppendBinary(nil)
		for n := range b {
			if got, _, err := DecodeSiblings(b[:n]); !errors.Is(err, ErrMalformed) {
				t.Fatalf("the first %d of %d bytes decode to %v, %v", n, len(b), got, err)
			}
		}
	})
}

// TestDataIsCutOff checks that appending to decoded data harms no neighbour.
func TestDataIsCutOff(t *testing.T) {
	s, _ := Siblings{}.Put(Clock{}, actor("a1"), Write{Data: []byte("x")})
	b := append(s.AppendBinary(nil), "tail"...)
	got, rest, err := DecodeSiblings(b)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(got.Versions[0].Data, "overwritten"...)
	if string(rest) != "tail" {
		t.Errorf("rest = %q", rest)
	}
}

// Encode copies the data once, and shows it where it has copied it.
func TestEncodeOwnsItsData(t *testing.T) {
	data := []byte("as it came")
	s, _ := Siblings{}.Put(Clock{}, actor("a1"), Write{Data: data})
	b, own := s.Encode(nil)
	copy(data, "gone")
	if got := own.Versions[0].Data; string(got) != "as it came" || cap(got) != len(got) {
		t.Errorf("the data is %q, with room for %d bytes", got, cap(got))
	}
	_, again := own.Encode([]byte("head"))
	copy(b[bytes.Index(b, []byte("as")):], "is")
	if got := own.Versions[0].Data; string(got) != "is it came" {
		t.Errorf("the data is %q, elsewhere than in the encoding", got)
	}
	if got := again.Versions[0].Data; string(got) != "as it came" || cap(got) != len(got) {
		t.Errorf("the data of the set encoded again is %q, with room for %d bytes", got, cap(got))
	}
}

// The parts of hostile encodings.
const (
	encA1  = "\x01a\x01\x00\x00\x00\x00\x00\x00\x00\x01" // actor a1, first in a table
	encA2  = "\x00\x02\x00\x00\x00\x00\x00\x00\x00\x01"  // a2, after an actor of a
	encB1  = "\x01b\x01\x00\x00\x00\x00\x00\x00\x00\x01"
	encMax = "\xff\xff\xff\xff\xff\xff\xff\xff\x7f"             // MaxCounter
	encVer = "\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" // a1:1, no data
)

func join(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case rune:
			b = append(b, byte(p))
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		}
	}
	return b
}

func TestDecodeClockRefuses(t *testing.T) {
	ok := join(1, 2, encA1, 1, encA2, 0, 1, 1, 0)
	if c, rest, err := DecodeClock(ok); err != nil || len(rest) > 0 || c.Len() != 2 {
		t.Fatalf("the sound one: %s, %q, %v", c, rest, err)
	}
	for name, tc := range map[string]struct {
		b    []byte
		want string
	}{
		"empty":                 {nil, "format version: 1 bytes needed, 0 left"},
		"unknown format":        {join(2, 0, 0), "format version 2; only 1 is known"},
		"more actors than room": {join(1, 0xff, 0xff, 3, encA1, 1, 0), "at most 1 is allowed"},
		"varint too long":       {join(1, bytes.Repeat([]byte{0xff}, 11)), "not a varint of 64 bits"},
		"varint not shortest":   {join(1, 0x81, 0, encA1, 1, 0), "number of actors: not the shortest form"},
		"first node shared":     {join(1, 1, encA2, 1, 0, 0), "the first actor has no node ID"},
		"node ID not sound":     {join(1, 1, 1, '~', 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0), "only A-Z a-z 0-9"},
		"node ID too long":      {join(1, 1, 65, strings.Repeat("a", 65), 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0), "at most 64"},
		"node ID twice":         {join(1, 2, encA1, 1, 1, 'a', 2, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0), "node ID a stands twice"},
		"no epoch":              {join(1, 1, 1, 'a', 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0), "node a has no epoch"},
		"sequence too long":     {join(1, 1, 1, 'a', 1, 0, 0, 0, 0, 0, 0, 0, bytes.Repeat([]byte{0xff}, 10), 1, 0), "sequence: not a varint of 64 bits"},
		"actors not sorted":     {join(1, 2, encB1, 1, encA1, 1, 0), "does not stand after"},
		"actor twice":           {join(1, 2, encA1, 1, encA1[:0], 0, encA1[2:], 1, 0), "does not stand after"},
		"counter too high":      {join(1, 1, encA1, binary.AppendUvarint(nil, MaxCounter+1), 0), "counter is"},
		"counter 0, no dot":     {join(1, 1, encA1, 0, 0), "1 actors have neither a counter nor an isolated dot"},
		"counter 0, other dot":  {join(1, 2, encA1, 1, encA2, 0, 1, 0, 0), "1 actors have neither"},
		"dot of no actor":       {join(1, 1, encA1, 1, 1, 1, 0), "index 1 of an actor; there are 1"},
		"dots not sorted":       {join(1, 2, encA1, 1, encA2, 1, 2, 1, 0, 0, 0), "index 0 of an actor stands after index 1"},
		"dot above a counter":   {join(1, 1, encA1, 1, 1, 0, encMax), "counter of an isolated dot is"},
		"dot above the highest": {join(1, 1, encA1, encMax, 1, 0, 0), "counter of an isolated dot is"},
		"dot that would wrap":   {join(1, 1, encA1, encMax, 1, 0, encMax), "counter of an isolated dot is"},
		"more dots than room":   {join(1, 1, encA1, 1, 2, 0, 0), "number of isolated dots is 2; at most 1"},
		"gap too high":          {join(1, 1, encA1, 1, 1, 0, binary.AppendUvarint(nil, math.MaxUint64)), "gap of an isolated dot is"},
	} {
		if c, rest, err := DecodeClock(tc.b); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), tc.want) || rest != nil || !c.IsEmpty() {
			t.Errorf("%s: %s, %q, %v; want an error with %q", name, c, rest, err, tc.want)
		}
	}
}

func TestDecodeSiblingsRefuses(t *testing.T) {
	clock := join(1, 2, encA1, 2, encB1, 1, 0)
	version := func(index, counter, flags int, more ...any) []byte {
		return join(index, counter, flags, join(more...), 0, 0, 0, 0, 0, 0, 0, 0)
	}
	if s, rest, err := DecodeSiblings(join(clock, 1, encVer)); err != nil || len(rest) > 0 || len(s.Versions) != 1 {
		t.Fatalf("the sound one: %v, %q, %v", s, rest, err)
	}
	for name, tc := range map[string]struct {
		b    []byte
		want string
	}{
		"no versions":             {clock, "number of versions"},
		"more versions than room": {join(clock, 0xff, 0xff, 0xff, 0xff, 15, encVer), "number of versions is"},
		"version of no actor":     {join(clock, 1, version(2, 1, 0), 0), "index 2 of an actor; there are 2"},
		"not covered":             {join(clock, 1, version(0, 3, 0), 0), "does not cover the version"},
		"counter 0":               {join(clock, 1, version(0, 0, 0), 0), "does not cover the version"},
		"twice":                   {join(clock, 2, encVer, encVer), "does not stand after"},
		"not sorted":              {join(clock, 2, version(0, 2, 0), 0, version(0, 1, 0), 0), "does not stand after"},
		"actors not sorted":       {join(clock, 2, version(1, 1, 0), 0, version(0, 1, 0), 0), "stands after index 1"},
		"unknown flag":            {join(clock, 1, version(0, 1, 4), 0), "unknown flags 0x4"},
		"write ID of zero":        {join(clock, 1, version(0, 1, 2, make([]byte, 16)), 0), "the write ID is zero"},
		"tombstone with data":     {join(clock, 1, version(0, 1, 1), 1, "x"), "a tombstone has 1 bytes of data"},
		"data cut short":          {join(clock, 1, version(0, 1, 0), 2, "x"), "data: 2 bytes needed, 1 left"},
		"data of any length":      {join(clock, 1, version(0, 1, 0), encMax), "data: 9223372036854775807 bytes needed, 0 left"},
		"clock not sound":         {join(1, 1, encA1, 0, 0, 1, encVer), "neither a counter nor"},
	} {
		if s, rest, err := DecodeSiblings(tc.b); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), tc.want) || rest != nil || !s.IsEmpty() {
			t.Errorf("%s: %v, %q, %v; want an error with %q", name, s, rest, err, tc.want)
		}
	}
}
