//go:build simbugs

package sim_test

import (
	"strings"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/sim"
)

// budget is how many cluster-hours the simulator may take to catch a bug.
const budget = 20

func TestSeededBugs(t *testing.T) {
	t.Cleanup(func() { bug.Set(bug.None) })
	for _, b := range bug.All() {
		t.Run(b.String(), func(t *testing.T) {
			bug.Set(b)
			caught := 0
			first := ""
			for seed := range uint64(budget) {
				r := sim.Run(sim.NewPlan(seed, time.Hour), nil)
				if r.Failed() {
					caught++
					if first == "" {
						t.Logf("seed %d: %s: %v", seed, strings.Join(r.Checkers(), ", "), r.Violations[0])
						first = "x"
					} else {
						t.Logf("seed %d: %s", seed, strings.Join(r.Checkers(), ", "))
					}
				}
			}
			t.Logf("caught in %d of %d", caught, budget)
		})
	}
}
