package dynamo

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"
)

// longestUnnoticed is far longer than docs/failure-detection.md says that a
// node which is gone is not noticed for, in small clusters.
const longestUnnoticed = 15 * time.Second

// A machine without power is suspected, then dead, for all others, and alive
// for them at once when it is back.
func TestVirtualDetection(t *testing.T) {
	inLab(t, 5, 8, nil, func(t *testing.T, l *lab) {
		const gone = 4
		l.pass(time.Minute) // for the rhythm of heartbeats to be known
		l.powerOff(gone)
		cut := time.Now()
		var suspected, dead, back [gone]time.Duration
		watch := func(status string, since time.Time, seen *[gone]time.Duration) {
			l.await("n5 to be "+status, func() bool {
				all := true
				for i := range gone {
					got := l.believes(i, gone)
					if seen[i] == 0 && (got == status || status == "suspected" && got == "dead") {
						seen[i] = time.Since(since)
					}
					all = all && seen[i] > 0
				}
				return all
			})
		}
		watch("suspected", cut, &suspected)
		watch("dead", cut, &dead)
		l.powerOn(gone)
		watch("alive", time.Now(), &back)
		t.Logf("suspected after %v, dead after %v, alive again after %v", suspected, dead, back)
		for i := range gone {
			if suspected[i] > longestUnnoticed || dead[i] > longestUnnoticed || back[i] > longestUnnoticed {
				t.Errorf("n%d: suspected after %v, dead after %v, alive again after %v", i+1, suspected[i], dead[i], back[i])
			}
		}
	})
}

// While nothing is wrong nobody is suspected, whatever clients do.
func TestVirtualCalm(t *testing.T) {
	inLab(t, 3, 9, func(c *Config) { c.AntiEntropyInterval = time.Minute }, func(t *testing.T, l *lab) {
		ctx, cancel := context.WithCancel(t.Context())
		changes, err := l.hosts[0].node.Subscribe(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var noticed []StatusChange
		var watching sync.WaitGroup
		watching.Go(func() { noticed = slices.Collect(changes) })
		u := l.user(0)
		for range 200 {
			u.act()
			l.pass(3 * time.Second)
		}
		for i := range l.hosts {
			for j := range l.hosts {
				if got := l.believes(i, j); got != "alive" {
					t.Errorf("n%d holds n%d for %s", i+1, j+1, got)
				}
			}
		}
		cancel()
		watching.Wait()
		if len(noticed) > 0 {
			t.Errorf("n1 has noticed %+v", noticed)
		}
	})
}
