package membership

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

// Disk stamps: DESIGN section 4, scenarios reap-then-restore and
// set-aside-too-much; see the package's documentation.
const (
	stampsRecord = "stamps"

	// stampEach is how often a running node stamps its disk, and writes down
	// what it remembers of the others': often against id.MaxDiskAge, seldom
	// against what an fsync costs.
	stampEach = time.Minute
)

// disk is what a node knows of the age of its own disk's state. Stamps grow;
// they are Unix nanoseconds as far as the wall clock lets them grow.
type disk struct {
	stamp   uint64        // the newest that is durable; 0: none
	pending uint64        // the next one, on its way to the disk
	at      uint64        // the flush that has it; 0: none
	due     time.Duration // when the disk is to be stamped
	floor   uint64        // what somebody remembers: the next stamp is newer

	// unsure says that the disk may be an old copy: the node speaks nothing
	// but gossip until enough members have said what they remember.
	unsure   bool
	vouchers []id.Node // who remember nothing newer
}

// diskStamps is the record of this node's stamp and of those that it remembers,
// by ascending ID.
type diskStamps struct {
	own   uint64
	peers []peerStamp
}

type peerStamp struct {
	node  id.Node
	stamp uint64
}

func encodeStamps(s diskStamps) []byte {
	b := binary.AppendUvarint([]byte{formatVersion}, s.own)
	b = binary.AppendUvarint(b, uint64(len(s.peers)))
	for _, p := range s.peers {
		b = appendString(b, string(p.node))
		b = binary.AppendUvarint(b, p.stamp)
	}
	return b
}

func decodeStamps(b []byte) (diskStamps, error) {
	d := newDecoder(b, stampsRecord)
	s := diskStamps{own: d.uvarint(math.MaxUint64)}
	for range d.uvarint(id.MaxMembers) {
		p := peerStamp{node: id.Node(d.bytes(id.MaxNodeBytes)), stamp: d.uvarint(math.MaxUint64)}
		if d.err != nil {
			break
		}
		if n := len(s.peers); n > 0 && s.peers[n-1].node >= p.node {
			d.fail("%q does not belong after %q", p.node, s.peers[n-1].node)
			break
		}
		s.peers = append(s.peers, p)
	}
	if err := d.end(); err != nil {
		return diskStamps{}, err
	}
	return s, nil
}

// newStamps is the record to be written now.
func (m *Machine) newStamps() diskStamps {
	s := diskStamps{own: m.disk.pending, peers: make([]peerStamp, 0, len(m.peers))}
	for _, p := range m.peers {
		s.peers = append(s.peers, peerStamp{p.rec.ID, p.diskStamp})
	}
	return s
}

// loadStamps reads the stamps into the machine, whose peers are there.
func (m *Machine) loadStamps() error {
	s, _, err := stored(m.store, stampsRecord, decodeStamps)
	if err != nil {
		return err
	}
	m.disk.stamp = s.own
	for _, p := range s.peers {
		if i, ok := m.find(p.node); ok {
			m.peers[i].diskStamp = p.stamp
		}
	}
	return nil
}

// questionDisk decides at the start whether the disk may be a copy that is so
// old that what has been forgotten since could come back from it. One that is
// stamped in the future is as doubtful.
func (m *Machine) questionDisk(now core.Now) {
	m.disk.due = now.Mono
	if m.cluster == 0 || m.cfg.ForceServe || m.others() == 0 {
		return
	}
	age := now.Wall - time.Duration(min(m.disk.stamp, math.MaxInt64))
	m.disk.unsure = !bug.On(bug.ServeOldDisk) && (age > id.MaxDiskAge || age < -id.MaxDiskAge)
}

// others counts the other members that have not left.
func (m *Machine) others() (n int) {
	for _, p := range m.peers {
		if p.rec.State != core.Left {
			n++
		}
	}
	return n
}

// stamps says that the disk is in use, and no stamp is on its way to it.
func (m *Machine) stamps() bool { return m.cluster != 0 && !m.disk.unsure && m.disk.at == 0 }

// stampDisk stamps the disk when it is time, and writes down with it what this
// node remembers of the others.
func (m *Machine) stampDisk(now core.Now) {
	if !m.stamps() || now.Mono < m.disk.due {
		return
	}
	m.disk.pending = max(m.disk.stamp+1, m.disk.floor+1, uint64(max(now.Wall, 0)))
	m.disk.due = now.Mono + stampEach
	m.dirty.stamps = true
}

// stamped takes the stamp as durable: only now may others hear of it.
func (m *Machine) stamped() { m.disk.at, m.disk.stamp = 0, m.disk.pending }

// remembered returns the newest stamp of a member's disk that it has told.
func (m *Machine) remembered(n id.Node) uint64 {
	if i, ok := m.find(n); ok {
		return m.peers[i].diskStamp
	}
	return 0
}

// hearOfDisk takes what a member says of its own disk and remembers of this
// node's. A stamp that is newer than all on this disk proves it an old copy. What
// was sent to an address, as to a seed, says nothing of this disk: its sender did
// not know whom it would reach.
func (m *Machine) hearOfDisk(p *peer, e *core.Envelope, state *core.GossipState, out *core.Out) {
	p.diskStamp = max(p.diskStamp, state.DiskStamp)
	if e.To != m.self.ID {
		return
	}
	m.disk.floor = max(m.disk.floor, state.Remembers)
	switch {
	case !m.disk.unsure:
	case state.Remembers > m.disk.stamp:
		out.Failed = fmt.Errorf("%w: it was last stamped at %s, and node %s remembers a stamp of %s",
			core.ErrOldDisk, stampTime(m.disk.stamp), p.rec.ID, stampTime(state.Remembers))
	case p.rec.State != core.Left && !slices.Contains(m.disk.vouchers, p.rec.ID):
		m.disk.vouchers = append(m.disk.vouchers, p.rec.ID)
		if 2*len(m.disk.vouchers) >= m.others() {
			m.disk.unsure = false
			m.viewDirty, m.news = true, true
		}
	}
}

// doubt says in words what the disk waits for.
func (m *Machine) doubt() string {
	return fmt.Sprintf("word that its disk, last stamped at %s, is not an old copy: %d of %d other members have spoken, and half of them must; "+
		"--force-serve, or ForceServe, serves without", stampTime(m.disk.stamp), len(m.disk.vouchers), m.others())
}

func stampTime(stamp uint64) string {
	return time.Unix(0, int64(min(stamp, math.MaxInt64))).UTC().Format(time.RFC3339)
}
