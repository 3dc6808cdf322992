package quorum

import (
	"testing"

	"pgregory.net/rapid"
)

// dumbVerdict tries every way in which the open votes can fall.
func dumbVerdict(t Tally) Verdict {
	open := t.Total - t.Yes - t.No
	some, all := false, true
	for yes := range open + 1 {
		met := t.Yes+yes >= t.Need
		some = some || met
		all = all && met
	}
	switch {
	case all:
		return Won
	case some:
		return Pending
	}
	return Lost
}

func TestVerdictAgreesWithTryingAllWays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.IntRange(0, 7).Draw(t, "total")
		yes := rapid.IntRange(0, total).Draw(t, "yes")
		no := rapid.IntRange(0, total-yes).Draw(t, "no")
		tally := Tally{Need: rapid.IntRange(0, 8).Draw(t, "need"), Total: total, Yes: yes, No: no}
		if got, want := tally.Verdict(), dumbVerdict(tally); got != want {
			t.Fatalf("%+v: %v, want %v", tally, got, want)
		}
		if (tally.Missing() == 0) != (tally.Verdict() == Won) {
			t.Fatalf("%+v: Missing %d, verdict %v", tally, tally.Missing(), tally.Verdict())
		}
	})
}

func TestEffective(t *testing.T) {
	for _, c := range []struct{ configured, owners, want int }{{2, 3, 2}, {2, 1, 1}, {3, 3, 3}} {
		if got := Effective(c.configured, c.owners); got != c.want {
			t.Errorf("Effective(%d, %d) = %d, want %d", c.configured, c.owners, got, c.want)
		}
	}
}
