package bug_test

import (
	"testing"

	"github.com/dynamo-kv/dynamo/internal/bug"
)

func TestNamesAreDistinct(t *testing.T) {
	seen := map[string]bug.Bug{bug.None.String(): bug.None}
	for _, b := range bug.All() {
		name := b.String()
		if other, ok := seen[name]; ok {
			t.Errorf("bugs %d and %d have the same name %q", other, b, name)
		}
		if name == "unknown bug" {
			t.Errorf("bug %d has no name", b)
		}
		seen[name] = b
	}
	if got := bug.Bug(-1).String(); got != "unknown bug" {
		t.Errorf("an unknown bug is called %q", got)
	}
}

func TestNoneIsNeverOn(t *testing.T) {
	if bug.On(bug.None) {
		t.Error("None is on")
	}
}
