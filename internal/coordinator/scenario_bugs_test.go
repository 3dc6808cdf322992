//go:build simbugs

package coordinator

import (
	"testing"

	"github.com/dynamo-kv/dynamo/internal/bug"
)

// The scenario ends badly when its rule is switched off.
func TestScenarioDoubleCountedFallbackNeedsItsRule(t *testing.T) {
	t.Cleanup(func() { bug.Set(bug.None) })
	bug.Set(bug.CountFallbackTwice)
	if doubleCountedFallback(t) == "" {
		t.Errorf("the scenario ends well with %v", bug.CountFallbackTwice)
	}
}
