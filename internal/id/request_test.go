package id

import (
	"strings"
	"testing"
)

func TestSoundRequestID(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "0b5c-1.x_Y": true, strings.Repeat("z", MaxRequestIDBytes): true,
		"": false, "a b": false, "a\n": false, "ü": false, "a~b": false, strings.Repeat("z", MaxRequestIDBytes+1): false,
	} {
		if SoundRequestID(name) != want {
			t.Errorf("the request ID %q is sound: %v", name, !want)
		}
	}
}
