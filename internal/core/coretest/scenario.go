package coretest

import (
	"testing"

	"github.com/dynamo-kv/dynamo/internal/bug"
)

// Scenario is a counterexample that a rule closes.
type Scenario struct {
	Name string
	Bug  bug.Bug // switches the rule off
	// Run plays it and says how it ends badly, nothing where the rule holds.
	Run func(t *testing.T) (bad string)
}

// Hold plays scenarios: each ends well.
func Hold(t *testing.T, all []Scenario) {
	for _, s := range all {
		t.Run(s.Name, func(t *testing.T) {
			if bad := s.Run(t); bad != "" {
				t.Error(bad)
			}
		})
	}
}
