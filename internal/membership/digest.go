package membership

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

// Digests and deltas: see the package's documentation.
const (
	// bucketMembers is how many members a bucket has, about: its two hashes are
	// few bytes a member then, and where it differs, few others are listed.
	bucketMembers = 32

	// maxBuckets is what that makes of the largest cluster.
	maxBuckets = id.MaxMembers / bucketMembers

	// maxDigestBytes bounds the digest of one message, about. The messages of a
	// round carry on where the one before ended, so that the fanout of them
	// have the largest cluster once. Some 300 members fit into one.
	maxDigestBytes = 1536

	// maxVersions bounds the versions that a reply lists. What is left out
	// differs in the next round, too.
	maxVersions = 256

	// maxRecordBytes bounds the records of one message: far below what a
	// transport carries, and enough for a hundred records. The rest is told by
	// the next messages.
	maxRecordBytes = 16 << 10

	// recordBytes is what a record takes beside its strings, at most.
	recordBytes = 170

	// MaxMessageBytes is what a message of gossip never exceeds, but for the
	// layouts that it may carry, whatever its members are called: the records,
	// the versions, and a digest that is one bucket with every member.
	MaxMessageBytes = 64 << 10

	// minRumours is how often a node tells a record that is new to it, in the
	// smallest cluster: see rumours.
	minRumours = 2
)

// place is a member in the order of the hashes; the peer is nil for this node.
type place struct {
	hash uint64
	peer *peer
}

func hashOf(n id.Node) uint64 { return xxhash.Sum64String(string(n)) }

// arrange sorts all members by the hashes of their IDs.
func (m *Machine) arrange() {
	m.places = append(m.places[:0], place{hash: hashOf(m.self.ID)})
	for _, p := range m.peers {
		m.places = append(m.places, place{hashOf(p.rec.ID), p})
	}
	slices.SortStableFunc(m.places, func(a, b place) int { return cmp.Compare(a.hash, b.hash) })
}

// settleIn adds a new peer to the order.
func (m *Machine) settleIn(p *peer) {
	hash := hashOf(p.rec.ID)
	m.places = slices.Insert(m.places, m.firstPlace(hash), place{hash, p})
}

// firstPlace returns where the hash is, or belongs.
func (m *Machine) firstPlace(hash uint64) int {
	i, _ := slices.BinarySearchFunc(m.places, hash, func(p place, hash uint64) int { return cmp.Compare(p.hash, hash) })
	return i
}

// recordAt returns the record of a place, to be read only.
func (m *Machine) recordAt(p place) *core.Member {
	if p.peer == nil {
		return &m.self
	}
	return &p.peer.rec
}

// bucketCount returns into how many buckets a cluster is divided.
func bucketCount(members int) uint32 {
	return min(uint32(1)<<bits.Len32(uint32(members-1)/bucketMembers), maxBuckets)
}

// bucket returns the places of one bucket.
func (m *Machine) bucket(buckets, index uint32) []place {
	width := 64 - bits.Len32(buckets-1)
	from, to := m.firstPlace(uint64(index)<<width), len(m.places)
	if index+1 < buckets {
		to = m.firstPlace(uint64(index+1) << width)
	}
	return m.places[from:to]
}

// sums returns the hashes of a bucket. They are sums, so that the order of
// equal hashes of IDs does not matter.
func (m *Machine) sums(places []place) (who, what uint64) {
	for _, p := range places {
		rec := m.recordAt(p)
		w := mix(mix(p.hash^rec.Start) + rec.Incarnation)
		who += w
		what += mix(w + rec.Changed)
	}
	return who, what
}

// mix spreads every bit over all others (the finalizer of splitmix64).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// digest returns the next chunk of buckets, as many as the limit allows. With
// whole it returns nothing where that is not all of them.
func (m *Machine) digest(whole bool) core.Digest {
	d := core.Digest{Buckets: bucketCount(len(m.places))}
	from, size := m.cursor, 0
	for range d.Buckets {
		b := core.Bucket{Index: m.cursor % d.Buckets}
		places := m.bucket(d.Buckets, b.Index)
		size += bucketBytes + len(places)*heartbeatBytes
		if size > maxDigestBytes && len(d.Chunk) > 0 {
			break
		}
		b.Who, b.What = m.sums(places)
		b.Heartbeats = make([]uint64, len(places))
		for i, p := range places {
			b.Heartbeats[i] = m.recordAt(p).Heartbeat
		}
		d.Chunk = append(d.Chunk, b)
		m.cursor++
	}
	if whole && len(d.Chunk) < int(d.Buckets) {
		m.cursor = from
		return core.Digest{}
	}
	return d
}

// bucketBytes is what a bucket takes on the wire beside its heartbeats, about,
// and heartbeatBytes what one of these takes from the fourth week to the eighth
// year of a node that gossips each second. It is counted so from the first day,
// so that a cluster spreads its news alike at any age.
const (
	bucketBytes    = 28
	heartbeatBytes = 4
)

// compare answers a digest: it takes the heartbeats that are newer there, and
// returns those that are newer here and what differs.
func (m *Machine) compare(now core.Now, theirs *core.Digest) core.Digest {
	if !m.valid(theirs) {
		return core.Digest{}
	}
	answer := core.Digest{Buckets: theirs.Buckets}
	for i := range theirs.Chunk {
		b := &theirs.Chunk[i]
		places := m.bucket(theirs.Buckets, b.Index)
		who, what := m.sums(places)
		a := core.Bucket{Index: b.Index, Who: who}
		if who == b.Who {
			a.Heartbeats = m.beat(now, places, b.Heartbeats)
		}
		if what != b.What && len(answer.Versions)+len(places) <= maxVersions {
			a.What = what | 1 // other than 0
			for _, p := range places {
				rec := m.recordAt(p)
				answer.Versions = append(answer.Versions, core.RecordVersion{
					Member: p.hash, Incarnation: rec.Incarnation, Changed: rec.Changed, Heartbeat: rec.Heartbeat,
				})
			}
		}
		if a.What != 0 || len(a.Heartbeats) > 0 {
			answer.Chunk = append(answer.Chunk, a)
		}
	}
	return answer
}

// valid checks what no decoder can: that a digest fits together.
func (m *Machine) valid(d *core.Digest) bool {
	ok := bits.OnesCount32(d.Buckets) <= 1 && d.Buckets <= maxBuckets && len(d.Chunk) <= int(d.Buckets)
	for i := range d.Chunk {
		ok = ok && d.Chunk[i].Index < d.Buckets
	}
	if !ok {
		m.counters.Invalid++
	}
	return ok && d.Buckets > 0
}

// beat takes the heartbeats of a bucket that has the same members here, and
// returns those that are newer here, nil if there are none.
func (m *Machine) beat(now core.Now, places []place, theirs []uint64) []uint64 {
	if len(places) != len(theirs) {
		return nil
	}
	var newer []uint64
	for i, p := range places {
		mine := m.recordAt(p).Heartbeat
		switch {
		case mine > theirs[i]:
			if newer == nil {
				newer = make([]uint64, len(places))
			}
			newer[i] = mine
		case mine < theirs[i] && p.peer != nil:
			m.advanceBeat(now, p.peer, theirs[i])
		}
	}
	return newer
}

// advanceBeat takes a newer heartbeat of a peer whose record is not news.
func (m *Machine) advanceBeat(now core.Now, p *peer, heartbeat uint64) {
	p.rec.Heartbeat = heartbeat
	m.hear(now, p)
}

// reconcile takes the answer to a digest, and sends the peer the records that
// are newer here, with the request for those that are newer there.
func (m *Machine) reconcile(now core.Now, e *core.Envelope, theirs *core.Digest, out *core.Out) {
	if theirs.Buckets == 0 || !m.valid(theirs) {
		return
	}
	versions := slices.SortedFunc(slices.Values(theirs.Versions), func(a, b core.RecordVersion) int { return cmp.Compare(a.Member, b.Member) })
	var gives []place
	for i := range theirs.Chunk {
		b := &theirs.Chunk[i]
		places := m.bucket(theirs.Buckets, b.Index)
		if who, _ := m.sums(places); who == b.Who {
			m.beat(now, places, b.Heartbeats)
		}
		if b.What == 0 {
			continue
		}
		for _, p := range places {
			if v, ok := versionOf(versions, p.hash); !ok || m.tells(p, v) {
				gives = append(gives, p)
			}
		}
	}
	wants := m.wants(now, versions)
	i, found := m.find(e.From)
	if !found || len(gives)+len(wants) == 0 {
		return
	}
	state := m.bare(m.cluster)
	state.Members, state.Wants = m.withRecords(state.Members, gives), wants
	m.request(now, core.Envelope{To: e.From, Addr: m.peers[i].rec.Addr}, noSeed, state, out)
}

func versionOf(versions []core.RecordVersion, hash uint64) (core.RecordVersion, bool) {
	i, ok := slices.BinarySearchFunc(versions, hash, func(v core.RecordVersion, hash uint64) int { return cmp.Compare(v.Member, hash) })
	if !ok {
		return core.RecordVersion{}, false
	}
	return versions[i], true
}

// tells says that the record of a place is newer than that version.
func (m *Machine) tells(p place, v core.RecordVersion) bool {
	return m.recordAt(p).Newer(core.Member{Incarnation: v.Incarnation, Changed: v.Changed})
}

// wants returns whose records somebody has newer, and takes the heartbeats of
// the others.
func (m *Machine) wants(now core.Now, versions []core.RecordVersion) []uint64 {
	var wants []uint64
	for _, v := range versions[:min(len(versions), maxVersions)] {
		theirs := core.Member{Incarnation: v.Incarnation, Changed: v.Changed}
		i := m.firstPlace(v.Member)
		if i == len(m.places) || m.places[i].hash != v.Member {
			wants = append(wants, v.Member)
			continue
		}
		p := m.places[i]
		switch rec := m.recordAt(p); {
		case p.peer == nil && m.rival != nil && v.Incarnation == m.rival.Incarnation:
			if v.Heartbeat > m.rival.Heartbeat {
				m.rival.Heartbeat, m.rivalHeard = v.Heartbeat, now.Mono
			}
		case theirs.Newer(*rec):
			wants = append(wants, v.Member)
		case p.peer != nil && v.Incarnation == rec.Incarnation && v.Changed == rec.Changed && v.Heartbeat > rec.Heartbeat:
			m.advanceBeat(now, p.peer, v.Heartbeat)
		}
	}
	return wants
}

// askedFor returns the places of the members that somebody asks for.
func (m *Machine) askedFor(hashes []uint64) []place {
	var places []place
	for _, hash := range hashes[:min(len(hashes), maxVersions)] {
		for i := m.firstPlace(hash); i < len(m.places) && m.places[i].hash == hash; i++ {
			places = append(places, m.places[i])
		}
	}
	return places
}

// withRecords adds the records of places, as many as a message takes. It
// begins anywhere, so that none is left out time after time.
func (m *Machine) withRecords(members []core.Member, places []place) []core.Member {
	size := 0
	for i := range members {
		size += sizeOf(&members[i])
	}
	first := 0
	if len(places) > 1 {
		first = m.rng.IntN(len(places))
	}
	for n := range places {
		p := places[(first+n)%len(places)]
		if p.peer == nil {
			continue // the own record is there
		}
		if size += sizeOf(&p.peer.rec); size > maxRecordBytes {
			break
		}
		members = append(members, p.peer.rec)
	}
	return members
}

// sizeOf returns what a record takes on the wire, at most.
func sizeOf(rec *core.Member) int {
	return recordBytes + len(rec.ID) + len(rec.Addr) + len(rec.Zone) + len(rec.Datacentre)
}

// rumours is how often a node tells a record that is new to it, in whatever it
// sends: a message to a random member doubles those who know, more or less, so
// that half of the logarithm from each of those is plenty. What they miss the
// digests find.
func rumours(members int) int { return minRumours + bits.Len(uint(members))/2 }

// rumour makes a peer's record one that is to be told.
func (m *Machine) rumour(p *peer) {
	p.tell = rumours(len(m.peers) + 1)
	if !p.isRumour {
		p.isRumour = true
		m.rumoured = append(m.rumoured, p)
	}
}

// withRumours adds the records that are to be told. Those that have been told
// often enough are rumours no more.
func (m *Machine) withRumours(members []core.Member) []core.Member {
	places := make([]place, len(m.rumoured))
	for i, p := range m.rumoured {
		places[i] = place{peer: p}
	}
	before := len(members)
	members = m.withRecords(members, places)
	for _, rec := range members[before:] {
		if i, ok := m.find(rec.ID); ok {
			m.peers[i].tell--
		}
	}
	m.rumoured = slices.DeleteFunc(m.rumoured, func(p *peer) bool {
		p.isRumour = p.tell > 0
		return !p.isRumour
	})
	return members
}
