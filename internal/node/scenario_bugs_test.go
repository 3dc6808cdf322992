//go:build simbugs

package node_test

import (
	"testing"

	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core/coretest"
)

// A shard that takes old messages brings back what was forgotten, and one that
// serves whoever comes stores what its readers will not find.
func TestScenariosNeedTheirRules(t *testing.T) {
	coretest.Break(t, []coretest.Scenario{
		{Name: "reap-old-message", Bug: bug.OldMessages, Run: reapOldMessage},
		{Name: "read-gap-stamp", Bug: bug.IgnoreStamp, Run: readGapStamp},
	})
}
