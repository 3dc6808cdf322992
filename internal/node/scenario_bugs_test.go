//go:build simbugs

package node_test

import (
	"testing"

	"github.com/dynamo-kv/dynamo/internal/bug"
)

// A shard that takes old messages brings back what was forgotten.
func TestReapOldMessageNeedsItsRule(t *testing.T) {
	t.Cleanup(func() { bug.Set(bug.None) })
	bug.Set(bug.OldMessages)
	if reapOldMessage(t) == "" {
		t.Errorf("the scenario ends well with %v", bug.OldMessages)
	}
}

// A shard that serves whoever comes stores what its readers will not find.
func TestReadGapStampNeedsItsRule(t *testing.T) {
	t.Cleanup(func() { bug.Set(bug.None) })
	bug.Set(bug.IgnoreStamp)
	if readGapStamp(t) == "" {
		t.Errorf("the scenario ends well with %v", bug.IgnoreStamp)
	}
}
