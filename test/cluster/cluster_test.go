package cluster

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
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

// The small disk of a node has room for a store with a few large values, which
// reserves 70 MiB for each of its logs. What is reserved is used up by values of
// largeValue.
const (
	smallDisk  = 384 << 20
	largeValue = 900 << 10
)

// onSmallDisk starts three nodes, of which the last has a small disk, and
// returns it with the path of a file that can fill its disk.
func onSmallDisk(t *testing.T, args ...string) (m *machines, small *process, ballast string) {
	t.Helper()
	const at = 2
	m = prepareMachines(t, 3)
	folder := t.TempDir()
	mounted := filepath.Join(folder, "disk")
	if err := os.Mkdir(mounted, 0o700); err != nil {
		t.Fatal(err)
	}
	m.net.must(m.net.hosts[at].mountImage(filepath.Join(folder, "image"), mounted, smallDisk))
	m.dirs[at] = filepath.Join(mounted, "n3")
	m.serveAll(args...)
	return m, m.nodes[at], filepath.Join(mounted, "ballast")
}

// room returns the state of a node's room.
func (p *process) room() string {
	s, err := p.status()
	if err != nil {
		return err.Error()
	}
	return s.Room.State
}

// TestTier3FullDisk has somebody else fill a node's disk. No process ends and no
// client fails, but for what the full node alone could store; it serves reads,
// and has what it missed when there is room again.
func TestTier3FullDisk(t *testing.T) {
	m, small, ballast := onSmallDisk(t)
	await(t, "room to be measured", func() bool { return small.room() == "plenty" })
	stop := m.work()
	m.goOn(200)
	m.net.must(small.inside.fill(ballast))
	await(t, "the node to be full", func() bool { return small.room() == "full" })
	probe := m.prober()
	for i := range 300 {
		at := m.nodes[i%len(m.nodes)]
		if err := probe.put(at, fmt.Sprint("meanwhile-", i%20), nil, false, 1000); err != nil {
			t.Errorf("a put through %s: %v", at.id, err)
		}
		if err := probe.read(small, fmt.Sprint("meanwhile-", i%20), false); err != nil {
			t.Errorf("a get through the full node: %v", err)
		}
	}
	const all = "/v1/kv/all?quorum=strict&w=3&timeout=1m"
	a, err := small.do(http.MethodPut, all, []byte("v"))
	if err != nil || a.code != http.StatusInsufficientStorage || !strings.Contains(string(a.body), `"storage_full"`) {
		t.Errorf("a put that all nodes must store: %d %s, %v", a.code, a.body, err)
	}
	m.goOn(200)
	for _, p := range m.nodes {
		select {
		case <-p.exited:
			t.Fatalf("%s has ended and says %s", p.id, p.stderr)
		default:
		}
	}
	m.net.must(small.inside.remove(ballast))
	await(t, "the node to have room", func() bool { return small.room() == "plenty" })
	m.goOn(100)
	stop()
	m.check()
}

// TestTier3DiskRunsFull has nodes take all that they can get, until a disk is
// really full. The node stops and says why, and so does a start of it on the
// full disk; nothing that it has acknowledged is lost, the others go on, and it
// comes back when there is room again.
func TestTier3DiskRunsFull(t *testing.T) {
	const noSpace, advice = "no space left on device", "the disk is full: make room on it"
	for engine, says := range map[string]struct {
		stopping []string // one of these
		starting string
	}{
		"pebble": {[]string{noSpace}, advice},
		"lss":    {[]string{noSpace}, advice},
		// What its file has room for lets it start, and it stops when it needs more.
		"bolt": {[]string{noSpace}, noSpace},
		// It looks at the room before a transaction. Its logs are maps of memory, so
		// that where the disk fills faster than it looks the system ends the process,
		// whose trace names what it wrote to: the reason to keep to the marks.
		"badger": {[]string{noSpace, "unexpected fault address"}, advice},
	} {
		t.Run(engine, func(t *testing.T) { testDiskRunsFull(t, engine, says.stopping, says.starting) })
	}
}

func testDiskRunsFull(t *testing.T, engine string, stopping []string, starting string) {
	m, full, ballast := onSmallDisk(t, "--room-enabled=false", "--engine", engine)
	stop := m.work()
	m.goOn(200)
	m.net.must(full.inside.fill(ballast))
	probe := m.caller(tier3Clients)
	ends := func(what string, why ...string) {
		t.Helper()
		await(t, what+" to end", func() bool {
			_ = probe.put(m.nodes[0], "large", probe.last["large"], false, largeValue)
			select {
			case <-full.exited:
				return true
			default:
				return false
			}
		})
		said := full.stderr.String()
		if full.cmd.ProcessState.Success() || !slices.ContainsFunc(why, func(w string) bool { return strings.Contains(said, w) }) {
			t.Errorf("%s ends with %v and says %s", what, full.cmd.ProcessState, said)
		}
	}
	ends("a node whose disk is full", stopping...)
	full.launch(full.addr)
	ends("a start on a full disk", starting)
	m.goOn(200)
	m.net.must(full.inside.remove(ballast))
	full.restart()
	m.goOn(100)
	stop()
	m.check()
}
