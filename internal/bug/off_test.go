//go:build !simbugs

package bug_test

import (
	"testing"

	"github.com/dynamo-kv/dynamo/internal/bug"
)

func TestNothingIsOnInANormalBuild(t *testing.T) {
	for _, b := range bug.All() {
		if bug.On(b) {
			t.Errorf("%v is on", b)
		}
	}
}
