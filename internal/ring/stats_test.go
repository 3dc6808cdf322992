package ring

import "testing"

// TestMovesNeedEqualPartitions: Q never changes in a cluster, so who compares
// layouts of different Q is in error.
func TestMovesNeedEqualPartitions(t *testing.T) {
	a, b := mustForm(t, 4, 1, cluster(1, 0)), mustForm(t, 8, 1, cluster(1, 0))
	for name, compare := range map[string]func(){
		"Moves":   func() { a.Moves(b) },
		"Compare": func() { Compare(a, b) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			compare()
		})
	}
}
