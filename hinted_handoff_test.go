package dynamo

import (
	"fmt"
	"testing"
	"time"
)

// Two nodes of five are gone, two owners of many keys among them. Every put and
// every get succeeds; when the two are back, hints alone bring them what they
// have missed, although a node that keeps hints loses its power in the middle
// of handing them over.
func TestVirtualHints(t *testing.T) {
	inLab(t, 5, 10, func(c *Config) { c.AntiEntropyInterval = 0 }, func(t *testing.T, l *lab) {
		const keys = 200
		l.powerOff(3)
		l.powerOff(4)
		l.await("all to hold n4 and n5 for dead", func() bool {
			for i := range 3 {
				if l.believes(i, 3) != "dead" || l.believes(i, 4) != "dead" {
					return false
				}
			}
			return true
		})
		u := l.user(0)
		for i := range keys {
			key := fmt.Sprint("missed-", i)
			if err := u.put(i%3, key, false); err != nil {
				t.Errorf("put of %s: %v", key, err)
			}
			if err := u.read((i+1)%3, key, false); err != nil {
				t.Errorf("get of %s: %v", key, err)
			}
		}
		stop := l.work() // for what the checks want to have seen
		l.pass(20 * time.Second)
		stop()
		kept := func(i int) (n uint64) {
			for _, pending := range l.hosts[i].node.Status().Hints.Pending {
				n += pending
			}
			return n
		}
		before := kept(0)
		if before == 0 {
			t.Fatal("n1 keeps no hints: nothing is tested")
		}
		l.powerOn(3)
		l.powerOn(4)
		for kept(0) == before {
			l.pass(time.Millisecond)
		}
		left := kept(0)
		l.powerOff(0)
		t.Logf("n1 loses its power when %d of %d hints are left", left, before)
		l.powerOn(0)
		l.check()
	})
}
