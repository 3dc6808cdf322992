//go:build simbugs

package handoff

import (
	"testing"

	"github.com/dynamo-kv/dynamo/internal/bug"
)

// Each scenario ends badly when its rule is switched off.
func TestHintScenariosNeedTheirRules(t *testing.T) {
	t.Cleanup(func() { bug.Set(bug.None) })
	for _, s := range hintScenarios() {
		t.Run(s.name, func(t *testing.T) {
			bug.Set(s.bug)
			if s.run(t) == "" {
				t.Errorf("the scenario ends well with %v", s.bug)
			}
		})
	}
}

// A new owner that pulls from too few misses what the others have.
func TestReadGapPullNeedsItsRule(t *testing.T) {
	t.Cleanup(func() { bug.Set(bug.None) })
	bug.Set(bug.PullFromOne)
	if readGapPull(t) == "" {
		t.Errorf("the scenario ends well with %v", bug.PullFromOne)
	}
}
