package dynamo

import (
	"fmt"
	"testing"
	"time"
)

// A cluster is cut in halves, and sloppy writes go on on both sides. After the
// heal the siblings of both are there, no more and no fewer.
func TestVirtualHalves(t *testing.T) {
	inLab(t, 6, 1, nil, func(t *testing.T, l *lab) {
		stop := l.work()
		l.pass(5 * time.Second)
		l.split(0, 1, 2)
		l.await("all of each side to suspect all of the other", func() bool {
			for i := range 3 {
				for j := 3; j < 6; j++ {
					if l.believes(i, j) == "alive" || l.believes(j, i) == "alive" {
						return false
					}
				}
			}
			return true
		})
		u := l.user(virtualClients)
		for round := range 3 {
			for i := range l.hosts {
				if err := u.put(i, fmt.Sprint("both-", round), false); err != nil {
					t.Errorf("a put through n%d: %v", i+1, err)
				}
			}
		}
		l.pass(20 * time.Second)
		l.net.Heal()
		l.pass(5 * time.Second)
		stop()
		l.check()
	})
}

// One node of three is cut off. With strict quorums the other two go on, and it
// acknowledges and answers nothing until the heal.
func TestVirtualMinority(t *testing.T) {
	inLab(t, 3, 2, func(c *Config) { c.Quorum = QuorumStrict }, func(t *testing.T, l *lab) {
		stop := l.work()
		l.pass(5 * time.Second)
		l.split(2)
		u := l.user(virtualClients)
		for i := range 5 {
			if err := u.put(2, "strict", true); err == nil {
				t.Errorf("try %d: a node that is cut off acknowledges a strict put", i)
			}
			if err := u.read(2, "strict", true); err == nil {
				t.Errorf("try %d: a node that is cut off answers a strict read", i)
			}
			for _, through := range []int{0, 1} {
				if err := u.put(through, "strict", true); err != nil {
					t.Errorf("a put of the majority: %v", err)
				}
			}
		}
		l.net.Heal()
		l.await("a strict put through the node that was cut off", func() bool { return u.put(2, "strict", true) == nil })
		l.pass(5 * time.Second)
		stop()
		l.check()
	})
}

// Nothing that one node sends reaches two others, which it hears. Nobody holds
// up the clients, and afterwards all are equal.
func TestVirtualOneWay(t *testing.T) {
	inLab(t, 5, 3, nil, func(t *testing.T, l *lab) {
		stop := l.work()
		l.pass(5 * time.Second)
		l.net.Cut("n1", "n2")
		l.net.Cut("n1", "n3")
		l.await("n2 and n3 to notice", func() bool { return l.believes(1, 0) != "alive" && l.believes(2, 0) != "alive" })
		u := l.user(virtualClients)
		for i := range l.hosts {
			if err := u.put(i, "one-way", false); err != nil {
				t.Errorf("a put through n%d: %v", i+1, err)
			}
		}
		l.pass(20 * time.Second)
		l.net.Heal()
		l.pass(5 * time.Second)
		stop()
		l.check()
	})
}
