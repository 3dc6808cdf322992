package pebble

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// TestKeys: keys in pebble are never empty, in the order of those outside, and
// come back as they were.
func TestKeys(t *testing.T) {
	draw := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 0, 1, 0xff}), 0, 5)
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw.Draw(t, "a"), draw.Draw(t, "b")
		if len(inner(a)) == 0 {
			t.Errorf("%x is empty in pebble", a)
		}
		if got := outer(inner(a)); !bytes.Equal(got, a) {
			t.Errorf("%x comes back as %x", a, got)
		}
		if bytes.Compare(inner(a), inner(b)) != bytes.Compare(a, b) {
			t.Errorf("%x and %x are in another order in pebble", a, b)
		}
	})
}
