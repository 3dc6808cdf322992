package forget

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/ring"
)

// TestTokensAgainstADumbTwin holds what stands to a list of all that happened:
// a token stands if it was given in that round and nothing has changed at its
// position since.
func TestTokensAgainstADumbTwin(t *testing.T) {
	l, err := ring.Form(2, 1, []ring.Member{{ID: "a", Weight: 1}})
	if err != nil {
		t.Fatal(err)
	}
	position := func(i int) ring.Position { return ring.Position(i%2)<<63 | ring.Position(i) }
	rapid.Check(t, func(t *rapid.T) {
		tokens := NewTokens()
		tokens.reset(l)
		const positions = 6
		var given, all [positions]map[uint64]bool
		clear := func(i int) { given[i], all[i] = map[uint64]bool{}, map[uint64]bool{} }
		for i := range positions {
			clear(i)
		}
		var opened [2]uint64
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			i := rapid.IntRange(0, positions-1).Draw(t, "position")
			p := l.At(position(i))
			round := rapid.Uint64Range(1, 8).Draw(t, "round")
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				tokens.Changed(position(i))
				clear(i)
			case 1:
				if fresh := tokens.open(0, p, round, time.Hour); fresh != (round > opened[p]) {
					t.Fatalf("round %d opens %v after %d", round, fresh, opened[p])
				}
				opened[p] = max(opened[p], round)
			case 2:
				if opened[p] > 0 && tokens.take(position(i), opened[p]) {
					given[i] = map[uint64]bool{opened[p]: true}
				}
			case 3:
				if opened[p] == 0 {
					break
				}
				tokens.takeAll(p, opened[p])
				for j := range positions {
					if l.At(position(j)) == p {
						all[j][opened[p]] = true
					}
				}
			}
		}
		for i := range positions {
			p := l.At(position(i))
			for round := uint64(1); round <= opened[p]; round++ {
				want := given[i][round]
				for since := range all[i] {
					want = want || since <= round
				}
				if got := tokens.stands(p, position(i), round); got != want {
					t.Fatalf("position %d, round %d stands: %v, want %v", i, round, got, want)
				}
			}
		}
	})
}

// Tokens that nobody asks for go, two generations later; there is no room for
// more than a number of them.
func TestTokensAreBounded(t *testing.T) {
	l, err := ring.Form(1, 1, []ring.Member{{ID: "a", Weight: 1}})
	if err != nil {
		t.Fatal(err)
	}
	tokens := NewTokens()
	if tokens.Changed(1); tokens.stands(0, 1, 0) {
		t.Error("a token without a layout")
	}
	tokens.reset(l)
	tokens.open(0, 0, 1, time.Hour)
	tokens.take(1, 1)
	tokens.open(time.Hour, 0, 2, time.Hour)
	if !tokens.stands(0, 1, 1) {
		t.Error("the token is gone too early")
	}
	tokens.open(2*time.Hour, 0, 3, time.Hour)
	if tokens.stands(0, 1, 1) {
		t.Error("the token stays for ever")
	}
	for i := range ring.Position(maxTokens) {
		if !tokens.take(i, 3) {
			t.Fatalf("no room for token %d of %d", i, maxTokens)
		}
	}
	if tokens.take(maxTokens, 3) {
		t.Error("more tokens than there may be")
	}
	if !tokens.take(7, 4) || !tokens.stands(0, 7, 4) || tokens.stands(0, 7, 3) {
		t.Error("a newer round does not take over a token")
	}
	tokens.drop(7, 3)
	if !tokens.stands(0, 7, 4) {
		t.Error("an older round has dropped a newer token")
	}
	if tokens.drop(7, 4); tokens.stands(0, 7, 4) {
		t.Error("a dropped token stands")
	}
}

// A partition's token remembers what has changed in it, up to a number of keys.
func TestTouchedKeysAreBounded(t *testing.T) {
	l, err := ring.Form(2, 1, []ring.Member{{ID: "a", Weight: 1}})
	if err != nil {
		t.Fatal(err)
	}
	tokens := NewTokens()
	tokens.reset(l)
	const half = ring.Position(1) << 63
	for p := range ring.Partition(2) {
		tokens.open(0, p, 1, time.Hour)
		tokens.takeAll(p, 1)
	}
	for i := range ring.Position(maxTouched) {
		tokens.Changed(i)
		tokens.Changed(i)
	}
	if tokens.stands(0, 7, 1) || !tokens.stands(0, maxTouched, 1) || !tokens.stands(1, half, 1) {
		t.Error("changed keys stand, or others do not")
	}
	tokens.Changed(half)
	if tokens.stands(0, maxTouched, 1) || tokens.stands(1, half, 1) || tokens.stands(1, half+1, 1) {
		t.Error("more changes are remembered than there may be")
	}
	tokens.takeAll(0, 2)
	if !tokens.stands(0, 7, 2) || tokens.stands(0, 7, 1) {
		t.Error("no new token afterwards")
	}
}
