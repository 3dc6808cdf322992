package dynamo

import (
	"fmt"
	"testing"
	"time"
)

// A strict read finds every strict write that had ended before it began, with
// one node of three gone or not.
func TestVirtualStrictReads(t *testing.T) {
	inLab(t, 3, 11, nil, func(t *testing.T, l *lab) {
		u := l.user(0)
		for i := range 100 {
			if i == 50 {
				l.powerOff(2)
			}
			key := fmt.Sprint("strict-", i)
			if err := u.put(i%2, key, true); err != nil && i < 50 {
				t.Errorf("put of %s: %v", key, err)
			}
			if err := u.read((i+1)%2, key, true); err != nil && i < 50 {
				t.Errorf("get of %s: %v", key, err)
			}
		}
		l.powerOn(2)
		stop := l.work()
		l.pass(10 * time.Second)
		stop()
		l.check()
	})
}

// One fault after the other, as they are drawn.
func TestVirtualAnyFault(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inLab(t, 5, 100+seed, nil, func(t *testing.T, l *lab) {
				stop := l.work()
				for range 6 {
					l.pass(time.Duration(l.rng.IntN(5000)) * time.Millisecond)
					undo := l.anyFault()
					l.pass(time.Duration(l.rng.IntN(20_000)) * time.Millisecond)
					undo()
				}
				l.pass(5 * time.Second)
				stop()
				l.check()
			})
		})
	}
}

// anyFault draws a fault, begins it, and returns what ends it.
func (l *lab) anyFault() (undo func()) {
	some := l.rng.Perm(len(l.hosts))[:1+l.rng.IntN(2)]
	switch l.rng.IntN(4) {
	case 0:
		l.t.Logf("%v are cut off", l.names(some...))
		l.split(some...)
		return l.net.Heal
	case 1:
		for to := range l.hosts {
			if to != some[0] && l.rng.IntN(2) == 0 {
				l.t.Logf("the way from %s to %s is cut", l.hosts[some[0]].name, l.hosts[to].name)
				l.net.Cut(l.hosts[some[0]].name, l.hosts[to].name)
			}
		}
		return l.net.Heal
	case 2:
		l.t.Logf("%s is restarted", l.hosts[some[0]].name)
		l.restart(some[0])
		return func() {}
	}
	l.t.Logf("%v lose their power", l.names(some...))
	l.awaitSync(some[0])
	for _, i := range some {
		l.powerOff(i)
	}
	return func() {
		for _, i := range some {
			l.powerOn(i)
		}
	}
}
