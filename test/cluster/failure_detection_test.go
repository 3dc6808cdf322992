package cluster

import (
	"testing"
	"time"
)

// TestTier3Pause stops a process for ten seconds, as SIGSTOP does. The others
// notice, and go on without it; when it goes on itself it is alive for them
// again, what it missed reaches it, and nothing that it still had in its hands
// does harm.
func TestTier3Pause(t *testing.T) {
	m := newMachines(t, 5)
	stop := m.work()
	m.goOn(200)
	resume := m.pause(2)
	over := time.After(10 * time.Second)
	for _, p := range m.others(2) {
		m.awaitStatus(p, 2, "suspected", "dead")
	}
	probe := m.prober()
	for _, p := range m.others(2) {
		probe.mustWrite(p, "paused", false)
	}
	<-over
	resume()
	for _, p := range m.others(2) {
		m.awaitStatus(p, 2, "alive")
	}
	m.goOn(100)
	stop()
	m.check()
}

// TestTier3Dead kills a node for good, as far as the others can know: all of
// them hold it for dead by and by, and believe it at once when it is back.
func TestTier3Dead(t *testing.T) {
	m := newMachines(t, 4)
	stop := m.work()
	m.goOn(100)
	m.nodes[3].kill()
	for _, p := range m.others(3) {
		m.awaitStatus(p, 3, "dead")
	}
	m.goOn(100)
	m.nodes[3].restart()
	for _, p := range m.others(3) {
		m.awaitStatus(p, 3, "alive")
	}
	stop()
	m.check()
}
