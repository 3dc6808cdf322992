//go:build simbugs

package coordinator

import (
	"testing"

	"github.com/dynamo-kv/dynamo/internal/bug"
)

// Each scenario ends badly when its rule is switched off.
func TestCoordinatorScenariosNeedTheirRules(t *testing.T) {
	t.Cleanup(func() { bug.Set(bug.None) })
	for _, s := range []struct {
		name string
		bug  bug.Bug
		run  func(t *testing.T) string
	}{
		{"double-counted-fallback", bug.CountFallbackTwice, doubleCountedFallback},
		{"forward-twice", bug.ForwardTwice, forwardTwice},
	} {
		t.Run(s.name, func(t *testing.T) {
			bug.Set(s.bug)
			if s.run(t) == "" {
				t.Errorf("the scenario ends well with %v", s.bug)
			}
		})
	}
}
