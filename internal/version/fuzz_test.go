package version

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// The seeds are in testdata/fuzz: sound values of every shape, and values
// with one fault each.

func FuzzDecodeClock(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		c, rest, err := DecodeClock(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || !c.IsEmpty() || rest != nil {
				t.Fatalf("%s, %x, %v", c, rest, err)
			}
			return
		}
		if got := c.AppendBinary(nil); !bytes.Equal(got, b[:len(b)-len(rest)]) {
			t.Fatalf("%x\nencodes again as\n%x", b, got)
		}
		again, err := NewClock(c.Vector(), c.Dots())
		if err != nil || !again.Equal(c) {
			t.Fatalf("%s is not sound: %s, %v", c, again, err)
		}
	})
}

func FuzzDecodeSiblings(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		s, rest, err := DecodeSiblings(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || !s.IsEmpty() || rest != nil {
				t.Fatalf("%v, %x, %v", s, rest, err)
			}
			return
		}
		used := b[:len(b)-len(rest)]
		if got := bare(s).AppendBinary(nil); !bytes.Equal(got, used) || bare(s).Size() != len(used) {
			t.Fatalf("%x\nencodes again as\n%x\nSize() = %d", b, got, bare(s).Size())
		}
		requireRoundTrip(t, s)
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		if m, err := Merge(s, s); err != nil || !m.Equal(s) || !s.Covers(s) {
			t.Fatalf("%v merged with itself is %v, %v", s, m, err)
		}
		for i := range s.Versions {
			if !s.Clock.Dominates(s.ClockOf(i)) {
				t.Fatalf("%v: version %d shows %s", s, i, s.ClockOf(i))
			}
		}
	})
}

func FuzzParseContext(f *testing.F) {
	f.Fuzz(func(t *testing.T, token string) {
		c, err := ParseContext(token)
		if err != nil {
			if !errors.Is(err, ErrContextMalformed) || !c.IsZero() {
				t.Fatalf("%v, %v", c, err)
			}
			return
		}
		if got := c.Token(); got != token {
			t.Fatalf("%s becomes %s", token, got)
		}
	})
}

// TestFuzzSeedsAreThere keeps the corpus from being lost unseen: without it
// the fuzzers would pass on nothing.
func TestFuzzSeedsAreThere(t *testing.T) {
	for _, name := range []string{"FuzzDecodeClock", "FuzzDecodeSiblings", "FuzzParseContext"} {
		files, err := os.ReadDir(filepath.Join("testdata", "fuzz", name))
		if err != nil || len(files) == 0 {
			t.Errorf("%s has %d seeds, %v", name, len(files), err)
		}
	}
}
