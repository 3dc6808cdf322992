package version

import (
	"fmt"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/id"
)

// benchSet returns the common set: one version of 100 bytes, the clock of a
// key that n nodes have written.
func benchSet(n int) Siblings {
	var s Siblings
	for i := range n {
		a := Actor{id.Node(fmt.Sprintf("node-%d", i)), Epoch{Start: 1<<60 + uint64(i), Seq: 1}}
		for range 3 {
			s, _ = s.Put(s.Clock, a, Write{ID: WriteID{byte(i)}, Data: make([]byte, 100)})
		}
	}
	return s
}

func BenchmarkVectorClockCompare(b *testing.B) {
	for _, n := range []int{1, 3, 10} {
		old := benchSet(n)
		cur, _ := old.Put(old.Clock, old.Versions[0].Dot.Actor, Write{})
		other := decoded(b, old) // shares no memory
		b.Run(fmt.Sprintf("actors=%d/before", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				other.Clock.Compare(cur.Clock)
			}
		})
		b.Run(fmt.Sprintf("actors=%d/equal", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				other.Clock.Compare(old.Clock)
			}
		})
	}
}

func BenchmarkMerge(b *testing.B) {
	for _, n := range []int{1, 3, 10} {
		old := benchSet(n)
		a := old.Versions[0].Dot.Actor
		cur, _ := old.Put(old.Clock, a, Write{Data: make([]byte, 100)})
		a.Epoch.Seq++
		side, _ := old.Put(old.Clock, a, Write{Data: make([]byte, 100)})
		for _, bc := range []struct {
			name string
			x, y Siblings
		}{
			{"newer", decoded(b, old), cur},
			{"older", cur, decoded(b, old)},
			{"equal", cur, decoded(b, cur)},
			{"concurrent", cur, decoded(b, side)},
		} {
			b.Run(fmt.Sprintf("actors=%d/%s", n, bc.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Merge(bc.x, bc.y); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkPut(b *testing.B) {
	for _, n := range []int{1, 3, 10} {
		s := benchSet(n)
		a, w := s.Versions[0].Dot.Actor, Write{ID: WriteID{1}, Data: make([]byte, 100)}
		b.Run(fmt.Sprintf("actors=%d/in-context", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Put(s.Clock, a, w)
			}
		})
		b.Run(fmt.Sprintf("actors=%d/blind", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Put(Clock{}, a, w)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, n := range []int{1, 3, 10} {
		enc := benchSet(n).AppendBinary(nil)
		b.Run(fmt.Sprintf("actors=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(enc)))
			for b.Loop() {
				if _, _, err := DecodeSiblings(enc); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, n := range []int{1, 3, 10} {
		s := benchSet(n)
		buf := make([]byte, 0, s.Size())
		b.Run(fmt.Sprintf("actors=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(s.Size()))
			for b.Loop() {
				s.AppendBinary(buf)
			}
		})
	}
}

func decoded(b *testing.B, s Siblings) Siblings {
	b.Helper()
	out, _, err := DecodeSiblings(s.AppendBinary(nil))
	if err != nil {
		b.Fatal(err)
	}
	return out
}
