package version

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// plainEqual compares sets by what an identity stands for, one dot at a time.
func plainEqual(a, b Siblings) bool {
	if len(a.Versions) != len(b.Versions) || !a.Clock.Equal(b.Clock) {
		return false
	}
	for i := range a.Versions {
		if a.Versions[i].Dot != b.Versions[i].Dot || a.Versions[i].Tombstone != b.Versions[i].Tombstone {
			return false
		}
	}
	return true
}

func TestIdentityTellsSetsApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genSiblings(t), genSiblings(t)
		if rapid.Bool().Draw(t, "a step apart") {
			b, _ = a.Put(genClock(t), genActor(t), Write{Tombstone: rapid.Bool().Draw(t, "tombstone")})
		}
		same := bytes.Equal(a.AppendIdentity(nil), b.AppendIdentity(nil))
		if want := plainEqual(a, b); same != want {
			t.Fatalf("%v and %v: equal identities %v, equal sets %v", a, b, same, want)
		}
	})
}

func TestIdentityKeepsOverEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := genSiblings(t)
		again, _, err := DecodeSiblings(s.AppendBinary(nil))
		if err != nil {
			t.Fatal(err)
		}
		prefix := []byte("before")
		if got, want := again.AppendIdentity(prefix), s.AppendIdentity([]byte("before")); !bytes.Equal(got, want) {
			t.Fatalf("%v: %x, then %x", s, want, got)
		}
	})
}

func TestIdentityLeavesPayloadsOut(t *testing.T) {
	small, _ := Siblings{}.Put(Clock{}, actor("a1"), Write{Data: []byte("x")})
	large, _ := Siblings{}.Put(Clock{}, actor("a1"), Write{Data: make([]byte, 1<<20)})
	if a, b := small.AppendIdentity(nil), large.AppendIdentity(nil); !bytes.Equal(a, b) || len(b) > 64 {
		t.Errorf("identities of %d and %d bytes; want equal ones that do not grow with the data", len(a), len(b))
	}
	gone, _ := Siblings{}.Put(Clock{}, actor("a1"), Write{Tombstone: true})
	if bytes.Equal(small.AppendIdentity(nil), gone.AppendIdentity(nil)) {
		t.Error("a tombstone has the identity of a value")
	}
}

func BenchmarkAppendIdentity(b *testing.B) {
	for _, n := range []int{1, 3, 10} {
		s := benchSet(n)
		b.Run(fmt.Sprintf("actors=%d", n), func(b *testing.B) {
			buf := make([]byte, 0, 1024)
			b.ReportAllocs()
			for b.Loop() {
				buf = s.AppendIdentity(buf[:0])
			}
		})
	}
}
