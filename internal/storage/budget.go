package storage

import "github.com/dynamo-kv/dynamo/internal/core"

// Budget counts what a scan has shown against its limit. Every engine uses
// it, so that a limit means the same in all of them.
type Budget struct {
	limit core.Limit
	shown core.Limit
}

// NewBudget returns the budget of a scan that has shown nothing.
func NewBudget(l core.Limit) Budget { return Budget{limit: l} }

// Take counts one pair that is shown.
func (b *Budget) Take(key, value []byte) {
	b.shown.Keys++
	b.shown.Bytes += len(key) + len(value)
}

// Spent reports whether the scan must end. A scan that has shown nothing goes
// on, whatever its limit, or it would never come further.
func (b *Budget) Spent() bool {
	return b.shown.Keys > 0 &&
		(b.shown.Keys >= b.limit.Keys || b.shown.Bytes >= b.limit.Bytes)
}
