//go:build simbugs

package coretest

import (
	"testing"

	"github.com/dynamo-kv/dynamo/internal/bug"
)

// Break plays scenarios with their rules switched off: each ends badly.
func Break(t *testing.T, all []Scenario) {
	t.Cleanup(func() { bug.Set(bug.None) })
	for _, s := range all {
		t.Run(s.Name, func(t *testing.T) {
			bug.Set(s.Bug)
			bad := s.Run(t)
			if bad == "" {
				t.Errorf("the scenario ends well with %v", s.Bug)
			}
			t.Log(bad)
		})
	}
}
