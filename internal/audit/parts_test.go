package audit

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestSetAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := rapid.SliceOf(rapid.IntRange(0, 300))
		a, b := members.Draw(t, "a"), members.Draw(t, "b")
		var sa, sb, both Set
		for _, i := range a {
			sa.Put(i)
		}
		for _, i := range b {
			sb.Put(i)
		}
		both.Add(sa)
		both.Add(sb)
		left := sa.Minus(sb)
		for i := range 310 {
			inA, inB := slices.Contains(a, i), slices.Contains(b, i)
			if sa.Has(i) != inA || both.Has(i) != (inA || inB) || left.Has(i) != (inA && !inB) {
				t.Fatalf("%d: in a %v, in both %v, in a minus b %v", i, sa.Has(i), both.Has(i), left.Has(i))
			}
		}
		var listed []int
		sa.Each(func(i int) { listed = append(listed, i) })
		slices.Sort(a)
		if !slices.Equal(listed, slices.Compact(a)) {
			t.Fatalf("each gave %v of %v", listed, a)
		}
		if both.Equal(sa) != sb.Minus(sa).IsEmpty() || left.IsEmpty() != (left.Count() == 0) {
			t.Fatalf("%v equals %v: %v; %v is empty: %v", both, sa, both.Equal(sa), left, left.IsEmpty())
		}
	})
}

func TestValuesAreChecked(t *testing.T) {
	key := []byte("k")
	v := NewValue(7, key, 30)
	if n, ok := ParseValue(v, key); !ok || n != 7 {
		t.Errorf("a value of write 7 is read as of %d, %v", n, ok)
	}
	if _, ok := ParseValue(v, []byte("other")); ok {
		t.Error("a value is accepted for another key")
	}
	for i := range v {
		damaged := slices.Clone(v)
		damaged[i] ^= 1
		if _, ok := ParseValue(damaged, key); ok {
			t.Errorf("a value with byte %d changed is accepted", i)
		}
	}
}
