package dynamo

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// What is put through any node is got through every other, and after its
// delete through none.
func TestVirtualPutAndGet(t *testing.T) {
	inLab(t, 5, 4, nil, func(t *testing.T, l *lab) {
		for i, through := range l.hosts {
			key := fmt.Sprint("key-", i)
			seen := put(t, through.node, key, "v", nil)
			for _, h := range l.hosts {
				wantValues(t, get(t, h.node, key), "v")
			}
			if _, err := through.node.Delete(t.Context(), key, seen); err != nil {
				t.Fatal(err)
			}
			for _, h := range l.hosts {
				if _, err := h.node.Get(t.Context(), key); !errors.Is(err, ErrKeyNotFound) {
					t.Errorf("%s after its delete, through %s: %v", key, h.name, err)
				}
			}
		}
	})
}

// Each machine in turn loses its power while clients work, and comes back with
// what its disk had synced.
func TestVirtualPowerCuts(t *testing.T) {
	inLab(t, 5, 5, nil, func(t *testing.T, l *lab) {
		stop := l.work()
		for i := range l.hosts {
			l.pass(3 * time.Second)
			l.awaitSync(i)
			l.powerOff(i)
			l.pass(time.Duration(l.rng.IntN(15_000)) * time.Millisecond)
			l.powerOn(i)
		}
		l.pass(3 * time.Second)
		stop()
		l.check()
	})
}

// All machines lose their power at the same moment.
func TestVirtualBlackout(t *testing.T) {
	inLab(t, 4, 6, nil, func(_ *testing.T, l *lab) {
		l.blackouts()
		l.check()
	})
}

// blackouts has all machines lose their power at the same moment, a few times,
// while clients work.
func (l *lab) blackouts() {
	stop := l.work()
	for range 3 {
		l.pass(5 * time.Second)
		l.awaitSync(l.rng.IntN(len(l.hosts)))
		for i := range l.hosts {
			l.powerOff(i)
		}
		for i := range l.hosts {
			l.powerOn(i)
		}
	}
	l.pass(15 * time.Second)
	stop()
}

// Nodes are stopped and started in order, one after the other, as for an
// upgrade.
func TestVirtualRollingRestart(t *testing.T) {
	inLab(t, 4, 7, nil, func(t *testing.T, l *lab) {
		stop := l.work()
		for i := range l.hosts {
			l.pass(3 * time.Second)
			l.restart(i)
		}
		l.pass(3 * time.Second)
		stop()
		l.check()
	})
}
