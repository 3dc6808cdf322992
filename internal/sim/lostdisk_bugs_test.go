//go:build simbugs

package sim

import (
	"slices"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/bug"
)

// Each scenario ends badly when its rule is switched off.
func TestDiskScenariosNeedTheirRules(t *testing.T) {
	t.Cleanup(func() { bug.Set(bug.None) })
	for _, s := range diskScenarios() {
		if s.bug == bug.None {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			bug.Set(s.bug)
			r := s.run()
			if !slices.Contains(r.Checkers(), s.checker) {
				t.Errorf("[%s] does not complain of %v; %v: %v", s.checker, s.bug, r.Checkers(), &r.Stats.Losses)
			}
			for _, v := range r.Violations {
				t.Log(v)
			}
		})
	}
}
