//go:build simbugs

package forget

import (
	"testing"

	"github.com/dynamo-kv/dynamo/internal/bug"
)

// Each scenario ends badly when its rule is switched off.
func TestScenariosNeedTheirRules(t *testing.T) {
	t.Cleanup(func() { bug.Set(bug.None) })
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			bug.Set(s.bug)
			if s.run(t) == "" {
				t.Errorf("the scenario ends well with %v", s.bug)
			}
		})
	}
}
