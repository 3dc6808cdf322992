package merkle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"pgregory.net/rapid"
)

func TestEncodingKeepsTheTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &pair{twin: twin{}}
		genChanges(t, p)
		b := p.tree.AppendBinary([]byte("before"))
		again, err := Decode(b[len("before"):])
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range []Level{Root, Branches, Leaf} {
			for i := range l.Width() {
				if again.Node(l, i) != p.tree.Node(l, i) {
					t.Fatalf("level %d, node %d is another", l, i)
				}
			}
		}
		if !bytes.Equal(again.AppendBinary(nil), b[len("before"):]) {
			t.Fatal("a tree has two encodings")
		}
	})
}

// full returns a tree with every leaf in use.
func full() *Tree {
	t := new(Tree)
	for i := range Leaves {
		t.Change(i, Hash{}, Of([]byte{byte(i), byte(i >> 8)}))
	}
	return t
}

func TestEncodedSizes(t *testing.T) {
	if n := len(full().AppendBinary(nil)); n != MaxEncodedBytes {
		t.Errorf("a full tree takes %d bytes; want %d", n, MaxEncodedBytes)
	}
	if n := len(new(Tree).AppendBinary(nil)); n != 1+checksumBytes {
		t.Errorf("an empty tree takes %d bytes", n)
	}
}

// sealed returns a tree's encoding with a checksum that matches.
func sealed(body ...byte) []byte {
	return binary.LittleEndian.AppendUint64(body, xxhash.Sum64(body))
}

func blockOf(index byte, used uint32, hashes ...Hash) []byte {
	b := binary.LittleEndian.AppendUint32([]byte{index}, used)
	for _, h := range hashes {
		b = h.AppendBinary(b)
	}
	return b
}

func malformed() map[string][]byte {
	one := Hash{1, 2}
	tree := func(blocks ...[]byte) []byte {
		return sealed(append([]byte{formatVersion}, bytes.Join(blocks, nil)...)...)
	}
	broken := tree(blockOf(1, 1, one))
	broken[7]++
	return map[string][]byte{
		"8 bytes":                         make([]byte, 8),
		"format 9":                        sealed(9),
		"the checksum":                    broken,
		"it ends within a block":          tree([]byte{1, 1}),
		"block 3 where 4 to 31 may stand": tree(blockOf(3, 1, one), blockOf(3, 1, one)),
		"block 32 where 0 to 31":          tree(blockOf(32, 1, one)),
		"block 3 is empty":                tree(blockOf(3, 0)),
		"it ends within block 3":          tree(blockOf(3, 3, one)),
		"a leaf of block 3 is zero":       tree(blockOf(3, 3, one, Hash{})),
	}
}

func TestDecodeRefuses(t *testing.T) {
	for want, b := range malformed() {
		tree, err := Decode(b)
		if tree != nil || !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		tree, err := Decode(b)
		if err != nil {
			if tree != nil || !errors.Is(err, ErrMalformed) {
				t.Fatalf("%v, %v", tree, err)
			}
			// Fuzzers do not guess checksums: what is behind it is tried too.
			if tree, err = Decode(sealed(append([]byte{formatVersion}, b...)...)); err != nil {
				return
			}
			b = sealed(append([]byte{formatVersion}, b...)...)
		}
		if got := tree.AppendBinary(nil); !bytes.Equal(got, b) {
			t.Fatalf("%x\nencodes again as\n%x", b, got)
		}
	})
}

// TestFuzzSeedsAreThere keeps the corpus from being lost unseen.
func TestFuzzSeedsAreThere(t *testing.T) {
	files, err := os.ReadDir(filepath.Join("testdata", "fuzz", "FuzzDecode"))
	if err != nil || len(files) < 5 {
		t.Errorf("%d seeds, %v", len(files), err)
	}
}

func BenchmarkEncode(b *testing.B) {
	t := full()
	buf := make([]byte, 0, MaxEncodedBytes)
	b.ReportAllocs()
	for b.Loop() {
		buf = t.AppendBinary(buf[:0])
	}
}

func BenchmarkDecode(b *testing.B) {
	buf := full().AppendBinary(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(buf); err != nil {
			b.Fatal(err)
		}
	}
}
