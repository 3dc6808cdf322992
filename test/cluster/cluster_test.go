package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTier3Kill kills each node in turn, and two at once, as kill -9 does,
// while clients work, and starts them again.
func TestTier3Kill(t *testing.T) {
	m := newMachines(t, 5)
	stop := m.work()
	for _, gone := range [][]int{{0}, {1}, {2}, {3}, {4}, {1, 2}} {
		m.goOn(50)
		for _, i := range gone {
			m.nodes[i].kill()
		}
		m.goOn(100)
		for _, i := range gone {
			m.nodes[i].restart()
		}
	}
	m.goOn(100)
	stop()
	m.check()
}

// The disk of TestTier3FullDisk has room for a store with a few large values,
// which reserves 70 MiB for each of its logs. What is reserved is used up by
// values of largeValue.
const (
	smallDisk  = 384 << 20
	largeValue = 900 << 10
)

// TestTier3FullDisk lets a node's disk run full. The node stops and says why,
// nothing that it has acknowledged is lost, the others go on, and it comes back
// when there is room again.
func TestTier3FullDisk(t *testing.T) {
	const at = 2
	m := prepareMachines(t, 3)
	disk, folder := m.net.hosts[at], t.TempDir()
	mounted := filepath.Join(folder, "disk")
	if err := os.Mkdir(mounted, 0o700); err != nil {
		t.Fatal(err)
	}
	m.net.must(disk.mountImage(filepath.Join(folder, "image"), mounted, smallDisk))
	m.dirs[at] = filepath.Join(mounted, "n3")
	m.serveAll()
	full := m.nodes[at]

	stop := m.work()
	m.goOn(200)
	ballast := filepath.Join(mounted, "ballast")
	m.net.must(disk.fill(ballast))
	probe := m.caller(tier3Clients)
	await(t, "a node whose disk is full to stop", func() bool {
		_ = probe.put(m.nodes[0], "large", probe.last["large"], false, largeValue)
		select {
		case <-full.exited:
			return true
		default:
			return false
		}
	})
	if said := full.stderr.String(); full.cmd.ProcessState.Success() || !strings.Contains(said, "no space left on device") {
		t.Errorf("a node whose disk is full ends with %v and says %s", full.cmd.ProcessState, said)
	}
	m.goOn(200)
	m.net.must(disk.remove(ballast))
	full.restart()
	m.goOn(100)
	stop()
	m.check()
}
