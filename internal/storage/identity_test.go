package storage

import (
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/id"
)

func TestIdentityRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := Identity{
			Format:   Format,
			Engine:   rapid.StringMatching(`[a-z]{1,10}`).Draw(rt, "engine"),
			Node:     id.Node(rapid.StringMatching(`[A-Za-z0-9._-]{1,64}`).Draw(rt, "node")),
			Instance: rapid.Uint64().Draw(rt, "instance"),
		}
		b := want.encode()
		if len(b) > maxIdentityBytes/8 {
			rt.Fatalf("an identity of %d bytes, near the limit of %d", len(b), maxIdentityBytes)
		}
		if got, err := decodeIdentity(b); err != nil || got != want {
			rt.Fatalf("%s reads %+v, %v; want %+v", b, got, err, want)
		}
	})
}

// TestIdentityFile pins down the file, which people read and later versions
// must understand.
func TestIdentityFile(t *testing.T) {
	const want = `{
  "format": 1,
  "engine": "pebble",
  "node": "n1",
  "instance": "000000000000002a"
}
`
	if got := string(Identity{Format: 1, Engine: "pebble", Node: "n1", Instance: 42}.encode()); got != want {
		t.Errorf("written as %s, want %s", got, want)
	}
}

func TestIdentityRefused(t *testing.T) {
	good := string(Identity{Format: 1, Engine: "pebble", Node: "n1", Instance: math.MaxUint64}.encode())
	for _, test := range []struct {
		name, from, to string
		want           error
	}{
		{"newer", `"format": 1`, `"format": 2`, ErrForeign},
		{"newer with more in it", `"format": 1`, `"format": 2, "colour": "red"`, ErrForeign},
		{"more in it", `"format": 1`, `"format": 1, "colour": "red"`, ErrDamaged},
		{"no format", `"format": 1,`, ``, ErrDamaged},
		{"format below the first", `"format": 1`, `"format": -1`, ErrDamaged},
		{"no engine", `"pebble"`, `""`, ErrDamaged},
		{"no node", `"n1"`, `""`, ErrDamaged},
		{"a node that cannot be", `"n1"`, `"n~1"`, ErrDamaged},
		{"a short instance", `"ffff`, `"fff`, ErrDamaged},
		{"an instance that is no number", `"ffff`, `"fffg`, ErrDamaged},
		{"a cut end", "}", "", ErrDamaged},
		{"nothing", good, "", ErrDamaged},
	} {
		t.Run(test.name, func(t *testing.T) {
			i, err := decodeIdentity([]byte(strings.Replace(good, test.from, test.to, 1)))
			if !errors.Is(err, test.want) {
				t.Errorf("it reads %+v, %v; want %v", i, err, test.want)
			}
		})
	}
}

func TestInstancesDiffer(t *testing.T) {
	if a, b := newIdentity("pebble", "n1"), newIdentity("pebble", "n1"); a.Instance == b.Instance {
		t.Errorf("two instances are both %x", a.Instance)
	}
}

const corpus = "testdata/fuzz/FuzzIdentity"

// FuzzIdentity has any bytes refused or understood, and what was understood
// understood again when it is written.
func FuzzIdentity(f *testing.F) {
	if seeds, err := os.ReadDir(corpus); err != nil || len(seeds) == 0 {
		f.Fatalf("there are no seeds in %s: %v", corpus, err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := decodeIdentity(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrForeign) {
				t.Errorf("refused with %v, want ErrDamaged or ErrForeign", err)
			}
			return
		}
		if again, err := decodeIdentity(i.encode()); err != nil || again != i {
			t.Errorf("%+v reads %+v, %v when it was written", i, again, err)
		}
	})
}
