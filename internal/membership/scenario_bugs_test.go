//go:build simbugs

package membership_test

import (
	"testing"

	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core/coretest"
)

// Each scenario of transitions ends badly when its rule is switched off.
func TestTransitionScenariosNeedTheirRules(t *testing.T) {
	coretest.Break(t, []coretest.Scenario{
		{Name: "read-gap-retire", Bug: bug.RetireAtOnce, Run: readGapRetire},
		{Name: "two-layouts-six", Bug: bug.SyncedByNumber, Run: twoLayoutsSix},
	})
}
