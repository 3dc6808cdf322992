package id

import (
	"strings"
	"testing"
)

func TestParseNode(t *testing.T) {
	for _, s := range []string{"n1", "a", "AZaz09._-", strings.Repeat("n", MaxNodeBytes)} {
		if n, err := ParseNode(s); err != nil || string(n) != s {
			t.Errorf("%q is taken as %q: %v", s, n, err)
		}
	}
	for s, want := range map[string]string{
		"":                                  "node ID is empty; use 1 to 64 characters of A-Z a-z 0-9 . _ -",
		strings.Repeat("n", MaxNodeBytes+1): "node ID has 65 characters; at most 64 are allowed",
		"n~1":                               `node ID "n~1" has the character '~'; only A-Z a-z 0-9 . _ - are allowed`,
		"n 1":                               `node ID "n 1" has the character ' '; only A-Z a-z 0-9 . _ - are allowed`,
		"nö":                                `node ID "nö" has the character 'ö'; only A-Z a-z 0-9 . _ - are allowed`,
		"n\xff":                             `node ID "n\xff" has the character '�'; only A-Z a-z 0-9 . _ - are allowed`,
		"n\x00":                             `node ID "n\x00" has the character '\x00'; only A-Z a-z 0-9 . _ - are allowed`,
	} {
		if n, err := ParseNode(s); err == nil || err.Error() != want || n != "" {
			t.Errorf("%q is taken as %q, with the error %v; want %s", s, n, err, want)
		}
	}
}
