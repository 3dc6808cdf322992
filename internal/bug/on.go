//go:build simbugs

package bug

import "sync/atomic"

// active is the bug that is switched on in this process.
var active atomic.Int64 //nolint:gochecknoglobals // the switch of a test build: machines have no place to carry it through

// On says whether a bug is switched on.
func On(b Bug) bool { return active.Load() == int64(b) && b != None }

// Set switches one bug on and every other off; None switches all off. A test
// sets it before it starts a simulation and not while one runs.
func Set(b Bug) { active.Store(int64(b)) }
