package merkle

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"reflect"
	"testing"

	"github.com/cespare/xxhash/v2"
	"pgregory.net/rapid"
)

// twin is the dumb tree: the keys themselves, summed up whenever it is asked.
type twin map[string]Hash

func (w twin) node(l Level, i int) (sum Hash) {
	for key, h := range w { // sums do not depend on the order
		leaf := leafOf(key)
		in := true
		switch l {
		case Root:
		case Branches:
			in = leaf/Fanout == i
		case Leaf:
			in = leaf == i
		}
		if in {
			sum = sum.Plus(h)
		}
	}
	return sum
}

func leafOf(key string) int { return LeafAt(xxhash.Sum64String(key), 0) }

// pair is a tree with its twin.
type pair struct {
	tree Tree
	twin twin
}

func (p *pair) set(key string, h Hash) {
	p.tree.Change(leafOf(key), p.twin[key], h)
	if h.IsZero() {
		delete(p.twin, key)
	} else {
		p.twin[key] = h
	}
}

// genChanges draws writes to few keys, so that they replace and remove.
func genChanges(t *rapid.T, p *pair) {
	for range rapid.IntRange(0, 40).Draw(t, "changes") {
		key := fmt.Sprint("key-", rapid.IntRange(0, 20).Draw(t, "key"))
		h := Hash{}
		if rapid.IntRange(0, 3).Draw(t, "remove") > 0 {
			h = Hash{rapid.Uint64Min(1).Draw(t, "low"), rapid.Uint64().Draw(t, "high")}
		}
		p.set(key, h)
	}
}

func TestTreeIsItsTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &pair{twin: twin{}}
		genChanges(t, p)
		for _, l := range []Level{Root, Branches, Leaf} {
			for i := range l.Width() {
				if got, want := p.tree.Node(l, i), p.twin.node(l, i); got != want {
					t.Fatalf("level %d, node %d: %x; want %x", l, i, got, want)
				}
			}
		}
		if p.tree.Root() != p.tree.Node(Root, 0) {
			t.Fatal("two roots")
		}
	})
}

// TestDiffFindsExactlyWhatDiffers walks two trees as owners do.
func TestDiffFindsExactlyWhatDiffers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := &pair{twin: twin{}}, &pair{twin: twin{}}
		genChanges(t, a)
		for key, h := range a.twin { // any order gives the same tree
			b.set(key, h)
		}
		genChanges(t, b)
		nodes := []uint32{0}
		for _, l := range []Level{Root, Branches, Leaf} {
			var differ []uint32
			for _, n := range nodes {
				if a.tree.Node(l, int(n)) != b.tree.Node(l, int(n)) {
					differ = append(differ, n)
				}
			}
			nodes = differ
			if l == Leaf {
				break
			}
			var below []uint32
			for _, n := range differ {
				below = Children(below, n)
			}
			nodes = below
		}
		want := map[uint32]bool{}
		for i := range 21 {
			if key := fmt.Sprint("key-", i); a.twin[key] != b.twin[key] {
				want[uint32(leafOf(key))] = true
			}
		}
		if len(nodes) != len(want) {
			t.Fatalf("%d leaves differ, the walk finds %v", len(want), nodes)
		}
		for _, n := range nodes {
			if !want[n] {
				t.Fatalf("leaf %d does not differ", n)
			}
		}
	})
}

func TestHashesAreAGroup(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gen := func(label string) Hash {
			return Hash{rapid.Uint64().Draw(t, label), rapid.Uint64().Draw(t, label)}
		}
		a, b, c := gen("a"), gen("b"), gen("c")
		if a.Plus(b) != b.Plus(a) || a.Plus(b).Plus(c) != a.Plus(b.Plus(c)) {
			t.Fatal("sums depend on the order")
		}
		if a.Plus(b).Minus(b) != a || a.Minus(b).Plus(b) != a || !a.Minus(a).IsZero() {
			t.Fatal("what was added cannot be taken out")
		}
	})
}

// The same pair twice must not vanish, as it would in an exclusive or.
func TestADoubledKeyShows(t *testing.T) {
	h := Of([]byte("key"))
	var once, thrice Tree
	once.Change(7, Hash{}, h)
	for range 3 {
		thrice.Change(7, Hash{}, h)
	}
	if once.Root() == thrice.Root() || h.Plus(h).IsZero() {
		t.Error("a key that is counted thrice looks like one that is counted once")
	}
	if max := (Hash{^uint64(0), 0}); max.Plus(Hash{1, 0}) != (Hash{0, 1}) {
		t.Error("the low half does not carry into the high one")
	}
}

func TestHalvesAreDifferentFunctions(t *testing.T) {
	var b [8]byte
	for i := range uint64(1000) {
		binary.LittleEndian.PutUint64(b[:], i)
		if h := Of(b[:]); h[0] == h[1] || h[0] != xxhash.Sum64(b[:]) {
			t.Fatalf("hash %x of %d", h, i)
		}
	}
}

// TestLeavesArePositions: a leaf's range has exactly the positions of the leaf.
func TestLeavesArePositions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partitionBits := uint8(rapid.IntRange(0, 16).Draw(t, "partition bits"))
		position := rapid.Uint64().Draw(t, "position")
		size := ^uint64(0) >> partitionBits
		first := position &^ size
		leaf := LeafAt(position, partitionBits)
		from, to := LeafRange(first, first+size, leaf)
		if position < from || position > to {
			t.Fatalf("position %x is of leaf %d, whose range is %x to %x", position, leaf, from, to)
		}
		if LeafAt(from, partitionBits) != leaf || LeafAt(to, partitionBits) != leaf {
			t.Fatalf("the ends of leaf %d are of others", leaf)
		}
		if leaf == 0 && from != first || leaf == Leaves-1 && to != first+size {
			t.Fatalf("leaf %d is %x to %x of %x to %x", leaf, from, to, first, first+size)
		}
	})
}

func TestLevels(t *testing.T) {
	if Root.Width() != 1 || Branches.Width() != Fanout || Leaf.Width() != Leaves || Level(3).Width() != 0 {
		t.Error("wrong widths")
	}
	if got := Children(nil, 3); len(got) != Fanout || got[0] != 3*Fanout || got[Fanout-1] != 4*Fanout-1 {
		t.Errorf("the children of 3 are %v", got)
	}
	var empty Tree
	if !empty.Node(Branches, 5).IsZero() || !empty.Node(Leaf, 5).IsZero() || !empty.Node(Level(9), 0).IsZero() {
		t.Error("an empty tree has hashes")
	}
}

func BenchmarkChange(b *testing.B) {
	var t Tree
	h := Of([]byte("key"))
	b.ReportAllocs()
	leaf := 0
	for b.Loop() {
		t.Change(leaf, Hash{}, h)
		leaf = (leaf + 37) % Leaves
	}
}

func BenchmarkOf(b *testing.B) {
	for _, size := range []int{64, 128} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			buf := make([]byte, size)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				Of(buf)
			}
		})
	}
}

// The memory that doc.go and docs/adr/0012-hash-trees.md state, on 64 bits.
func TestMemoryOfATree(t *testing.T) {
	if bits.UintSize != 64 {
		t.Log("the sizes are those of 64 bits")
		return
	}
	empty, leaves := reflect.TypeFor[Tree]().Size(), reflect.TypeFor[block]().Size()
	if empty != 272 || empty+Fanout*leaves != 17168 {
		t.Errorf("an empty tree takes %d bytes, a full one %d", empty, empty+Fanout*leaves)
	}
}
