//go:build simbugs

package dynamo

import (
	"slices"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/audit"
	"github.com/dynamo-kv/dynamo/internal/bug"
)

// The power cuts of tier 2 and its checks are not vacuous: nodes with a bug that
// is put in on purpose do not pass them, and those without one do.
func TestVirtualBlackoutsNeedTheirRules(t *testing.T) {
	t.Cleanup(func() { bug.Set(bug.None) })
	const budget = 5 // seeds
	for _, test := range []struct {
		bug     bug.Bug
		promise string
	}{
		{bug.None, ""},
		{bug.SkipFsyncWait, "no lost write"},
		{bug.ContextCoversUnseen, "contexts"},
	} {
		bug.Set(test.bug)
		caught := false
		for seed := uint64(0); seed < budget && !caught; seed++ {
			inLab(t, 4, seed, nil, func(t *testing.T, l *lab) {
				l.blackouts()
				problems := l.problems()
				if test.bug == bug.None {
					for _, p := range problems {
						t.Errorf("without a bug: %+v", p)
					}
				}
				caught = slices.ContainsFunc(problems, func(p audit.Problem) bool { return p.Promise == test.promise })
			})
			if caught {
				t.Logf("%v is caught at seed %d", test.bug, seed)
			}
		}
		if !caught && test.bug != bug.None {
			t.Errorf("%v breaks no promise of %q within %d seeds", test.bug, test.promise, budget)
		}
	}
}
