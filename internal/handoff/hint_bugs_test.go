//go:build simbugs

package handoff

import (
	"testing"

	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core/coretest"
)

// Each scenario ends badly when its rule is switched off.
func TestScenariosNeedTheirRules(t *testing.T) {
	coretest.Break(t, append(hintScenarios(), coretest.Scenario{Name: "read-gap-pull", Bug: bug.PullFromOne, Run: readGapPull}))
}
