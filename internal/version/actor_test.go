package version

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/id"
)

func TestActorString(t *testing.T) {
	a := Actor{Node: "n1.eu-west_2", Epoch: Epoch{Start: 0xbeef, Seq: 12}}
	const want = "n1.eu-west_2~000000000000beef.12"
	if got := a.String(); got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
	if got, want := (Dot{a, 7}).String(), want+":7"; got != want {
		t.Errorf("Dot.String() = %q, want %q", got, want)
	}
}

func TestParseActorReturnsWhatStringWrote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Actor{
			Node:  id.Node(rapid.StringMatching(`[A-Za-z0-9._-]{1,64}`).Draw(t, "node")),
			Epoch: Epoch{Start: rapid.Uint64().Draw(t, "start"), Seq: rapid.Uint64Min(1).Draw(t, "seq")},
		}
		got, err := ParseActor(want.String())
		if err != nil || got != want {
			t.Fatalf("ParseActor(%q) = %v, %v", want, got, err)
		}
	})
}

func TestParseActorRefuses(t *testing.T) {
	for _, s := range []string{
		"", "a", "a~", "a~.", "a~0000000000000001", "a~0000000000000001.", "a~1.1", "~0000000000000001.1",
		"a~000000000000000A.1", "a~0000000000000001.01", "a~0000000000000001.+1", "a~0000000000000001.18446744073709551616",
		"a~00000000000000001.1", "a~0000000000000001.1 ", "a b~0000000000000001.1", "a~b~0000000000000001.1",
		"a~0000000000000000.0",
	} {
		if a, err := ParseActor(s); !errors.Is(err, ErrMalformed) {
			t.Errorf("ParseActor(%q) = %v, %v; want ErrMalformed", s, a, err)
		}
	}
}

func TestOrder(t *testing.T) {
	sorted := []Dot{
		{Actor{"a", Epoch{1, 1}}, 1},
		{Actor{"a", Epoch{1, 1}}, 2},
		{Actor{"a", Epoch{1, 2}}, 1},
		{Actor{"a", Epoch{2, 0}}, 1},
		{Actor{"aa", Epoch{0, 1}}, 1},
		{Actor{"b", Epoch{0, 1}}, math.MaxUint64},
	}
	for i, d := range sorted {
		for j, o := range sorted {
			want := 0
			switch {
			case i < j:
				want = -1
			case i > j:
				want = 1
			}
			if got := d.Compare(o); got != want {
				t.Errorf("%s.Compare(%s) = %d, want %d", d, o, got, want)
			}
		}
	}
	if !slices.IsSortedFunc(sorted, Dot.Compare) {
		t.Error("not sorted by Compare")
	}
}

func TestWriteID(t *testing.T) {
	w := WriteID{0: 0xab, 15: 1}
	const text = "ab000000000000000000000000000001"
	if w.String() != text {
		t.Errorf("String() = %q, want %q", w, text)
	}
	for _, s := range []string{text, "AB000000000000000000000000000001"} {
		if got, err := ParseWriteID(s); err != nil || got != w {
			t.Errorf("ParseWriteID(%q) = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", text[1:], text + "0", "g" + text[1:]} {
		if _, err := ParseWriteID(s); !errors.Is(err, ErrMalformed) {
			t.Errorf("ParseWriteID(%q): %v, want ErrMalformed", s, err)
		}
	}
	if w.IsZero() || !(WriteID{}).IsZero() {
		t.Error("IsZero is wrong")
	}
}

// An idempotency key names its request for ever: servers of all versions, and the
// client, must make the same write ID of it.
func TestWriteIDOfAnIdempotencyKey(t *testing.T) {
	for key, want := range map[string]string{
		"ab000000000000000000000000000001": "ab000000000000000000000000000001",
		"mine":                             "",
		strings.Repeat("k", 255):           "",
	} {
		if want == "" {
			sum := sha256.Sum256([]byte(key))
			want = hex.EncodeToString(sum[:16])
		}
		if got, err := WriteIDFrom(key); err != nil || got.String() != want {
			t.Errorf("WriteIDFrom(%.40q) = %v, %v; want %s", key, got, err, want)
		}
	}
	for _, key := range []string{"", strings.Repeat("k", 256), strings.Repeat("0", 32)} {
		if w, err := WriteIDFrom(key); err == nil {
			t.Errorf("WriteIDFrom(%.40q) = %v; want an error", key, w)
		}
	}
}
