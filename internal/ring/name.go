package ring

import (
	"cmp"
	"fmt"
)

// Name names a layout: its number, and a digest of everything in it, so that
// two layouts that were planned apart under one number are told apart.
type Name struct{ Number, Digest uint64 }

// IsZero reports whether n names no layout; numbers start at 1.
func (n Name) IsZero() bool { return n == Name{} }

// Compare orders names by number, then by digest: of two layouts in conflict
// the one with the larger name wins. The result is -1, 0 or 1.
func (n Name) Compare(o Name) int {
	return cmp.Or(cmp.Compare(n.Number, o.Number), cmp.Compare(n.Digest, o.Digest))
}

// String prints the number and the first 8 hexadecimal digits of the digest,
// as in "7-1a2b3c4d".
func (n Name) String() string {
	return fmt.Sprintf("%d-%08x", n.Number, n.Digest>>32)
}
