package replica

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// The seeds are in testdata/fuzz: sound values of every shape, and values with
// one fault each.

func FuzzDecodeRecord(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(b)
		if err != nil {
			return
		}
		for i := 1; i < len(r.owners); i++ {
			if r.owners[i-1].Node >= r.owners[i].Node {
				t.Fatalf("owners out of order: %v", r.owners)
			}
		}
		stored, _ := r.encode()
		again, err := decodeRecord(stored)
		if err != nil || again.epoch != r.epoch || !again.set.Equal(r.set) || len(again.owners) != len(r.owners) {
			t.Fatalf("%+v encodes to %+v, %v", r, again, err)
		}
	})
}

func FuzzDecodeTally(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		tally, err := decodeTally(b)
		if err != nil {
			return
		}
		if got := tally.encode(); !bytes.Equal(got, b) {
			t.Fatalf("%x\nencodes again as\n%x", b, got)
		}
	})
}

func TestFuzzCorpusIsCommitted(t *testing.T) {
	for _, name := range []string{"FuzzDecodeRecord", "FuzzDecodeTally"} {
		files, err := filepath.Glob(filepath.Join("testdata", "fuzz", name, "*"))
		if err != nil || len(files) < 5 {
			t.Fatalf("%s has %d seeds: %v", name, len(files), err)
		}
		for _, f := range files {
			if b, err := os.ReadFile(f); err != nil || !bytes.HasPrefix(b, []byte("go test fuzz v1\n")) {
				t.Errorf("%s is no seed: %v", f, err)
			}
		}
	}
}
