package cluster

import (
	"fmt"
	"testing"
)

// TestTier3Halves cuts a cluster in two, and sloppy writes go on on both
// sides. After the heal the siblings of both are there, no more and no fewer.
func TestTier3Halves(t *testing.T) {
	m := newMachines(t, 5)
	stop := m.work()
	m.goOn(200)
	left, right := []int{0, 1}, []int{2, 3, 4}
	m.net.split(left...)
	for _, a := range left {
		for _, b := range right {
			m.awaitStatus(m.nodes[a], b, "suspected", "dead")
			m.awaitStatus(m.nodes[b], a, "suspected", "dead")
		}
	}
	probe := m.prober()
	for round := range 3 {
		for _, p := range m.nodes {
			probe.mustWrite(p, fmt.Sprint("both-", round), false)
		}
	}
	m.goOn(200)
	m.net.heal()
	m.goOn(100)
	stop()
	m.check()
}

// TestTier3OneWay cuts ways in one direction only: nothing that one node sends
// reaches two others, which it hears. Writes go on through all of them.
func TestTier3OneWay(t *testing.T) {
	m := newMachines(t, 5)
	stop := m.work()
	m.goOn(200)
	m.net.cut(0, 1)
	m.net.cut(0, 2)
	m.awaitStatus(m.nodes[1], 0, "suspected", "dead")
	m.awaitStatus(m.nodes[2], 0, "suspected", "dead")
	probe := m.prober()
	for _, p := range m.nodes {
		probe.mustWrite(p, "one-way", false)
	}
	m.goOn(200)
	m.net.heal()
	m.goOn(100)
	stop()
	m.check()
}

// TestTier3Isolate cuts one node of three off. With strict quorums the other
// two go on, and it acknowledges and answers nothing until the heal.
func TestTier3Isolate(t *testing.T) {
	m := newMachines(t, 3)
	stop := m.work()
	m.goOn(200)
	m.net.split(2)
	alone, hasty := m.nodes[2], m.caller(tier3Clients)
	for i := range 2 {
		if hasty.put(alone, "strict", nil, true, 100) == nil {
			t.Errorf("try %d: a node that is cut off acknowledges a strict write", i)
		}
		if hasty.read(alone, "strict", true) == nil {
			t.Errorf("try %d: a node that is cut off answers a strict read", i)
		}
	}
	for _, p := range m.others(2) {
		m.awaitStatus(p, 2, "suspected", "dead")
		m.prober().mustWrite(p, "strict", true)
	}
	m.goOn(100)
	m.net.heal()
	hasty.awaitWrite(alone, "strict", true)
	m.goOn(100)
	stop()
	m.check()
}
