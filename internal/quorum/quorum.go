// Package quorum counts the votes of a key's owners. It is a calculator with
// three answers, since "not yet" and "never" are different ones.
package quorum

import "fmt"

// Verdict is how a quorum stands.
type Verdict uint8

// The verdicts.
const (
	Pending Verdict = iota // may still be met
	Won                    // is met
	Lost                   // cannot be met any more
)

// String returns the verdict's name.
func (v Verdict) String() string {
	switch v {
	case Pending:
		return "pending"
	case Won:
		return "won"
	case Lost:
		return "lost"
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// Tally counts the votes of Total distinct voters, of which Need must say
// yes. The caller counts each voter once.
type Tally struct {
	Need, Total int
	Yes, No     int
}

// Verdict says how the quorum stands.
func (t Tally) Verdict() Verdict {
	switch {
	case t.Yes >= t.Need:
		return Won
	case t.Total-t.No < t.Need:
		return Lost
	}
	return Pending
}

// Missing returns how many votes are still wanted, 0 when the quorum is met.
func (t Tally) Missing() int { return max(0, t.Need-t.Yes) }

// Effective lowers a configured quorum to the owners that there are.
func Effective(configured, owners int) int { return min(configured, owners) }
