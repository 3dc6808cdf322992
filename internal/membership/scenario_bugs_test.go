//go:build simbugs

package membership_test

import (
	"testing"

	"github.com/dynamo-kv/dynamo/internal/bug"
)

// Each scenario of transitions ends badly when its rule is switched off.
func TestTransitionScenariosNeedTheirRules(t *testing.T) {
	t.Cleanup(func() { bug.Set(bug.None) })
	for _, s := range []struct {
		name string
		bug  bug.Bug
		run  func(t *testing.T) string
	}{
		{"read-gap-retire", bug.RetireAtOnce, readGapRetire},
		{"two-layouts-six", bug.SyncedByNumber, twoLayoutsSix},
	} {
		t.Run(s.name, func(t *testing.T) {
			bug.Set(s.bug)
			bad := s.run(t)
			if bad == "" {
				t.Errorf("the scenario ends well with %v", s.bug)
			}
			t.Log(bad)
		})
	}
}
