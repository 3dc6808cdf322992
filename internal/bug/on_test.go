//go:build simbugs

package bug_test

import (
	"testing"

	"github.com/dynamo-kv/dynamo/internal/bug"
)

func TestSetSwitchesOneBug(t *testing.T) {
	t.Cleanup(func() { bug.Set(bug.None) })
	for _, b := range bug.All() {
		bug.Set(b)
		for _, other := range bug.All() {
			if bug.On(other) != (other == b) {
				t.Errorf("with %v set, On(%v) = %v", b, other, bug.On(other))
			}
		}
	}
}
