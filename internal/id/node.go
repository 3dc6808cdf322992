package id

import (
	"fmt"
	"unicode/utf8"
)

// MaxNodeBytes bounds a node's ID. IDs stand in every clock entry and every
// message, so a long one would be paid for in each.
const MaxNodeBytes = 64

// Node is a node's ID: stable over restarts, unique in its cluster, 1 to
// MaxNodeBytes characters out of A-Z a-z 0-9 '.' '_' '-'. The character '~'
// is never part of it, since actors print as node~epoch.
type Node string

// ParseNode checks s and returns it as a node's ID.
func ParseNode(s string) (Node, error) {
	if s == "" {
		return "", fmt.Errorf("node ID is empty; use 1 to %d characters of A-Z a-z 0-9 . _ -", MaxNodeBytes)
	}
	if len(s) > MaxNodeBytes {
		return "", fmt.Errorf("node ID has %d characters; at most %d are allowed", len(s), MaxNodeBytes)
	}
	for _, r := range s {
		if r >= utf8.RuneSelf || !nameByte(byte(r)) {
			return "", fmt.Errorf("node ID %q has the character %q; only A-Z a-z 0-9 . _ - are allowed", s, r)
		}
	}
	return Node(s), nil
}

func nameByte(b byte) bool {
	switch {
	case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9':
		return true
	}
	return b == '.' || b == '_' || b == '-'
}
