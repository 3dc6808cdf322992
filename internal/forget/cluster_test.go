package forget

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/core/coretest"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/replica"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

const (
	ttl      = 10 * time.Minute
	interval = time.Minute
	// enough is when a key is gone that may go: found, and confirmed twice.
	enough = 2*interval + ttl
)

// member is one node: its replica, and its machine over it.
type member struct {
	*Forget
	id      id.Node
	start   uint64
	replica *replica.Replica
	tokens  *Tokens
	store   *coretest.Store
	out     core.Out
	down    bool
	slow    bool // what is written does not become durable
}

// cluster is four nodes, three of which own the partition of key; its reaper is
// owners[0].
type cluster struct {
	t       *testing.T
	now     core.Now
	layout  *ring.Layout
	members []*member
	sent    []core.Envelope
	drop    func(e *core.Envelope) bool // nil: nothing is dropped
	fails   func(e *core.Envelope) bool // what provably never leaves; nil: nothing
	seen    []core.Envelope             // all that was sent
	key     []byte
	owners  []*member
	other   *member // no owner
	bad     string  // how a scenario ends badly, the first way that it does
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, now: core.Now{Mono: time.Hour, Wall: 1000 * time.Hour}, key: []byte("key")}
	var of []ring.Member
	for i := range 4 {
		m := &member{store: coretest.NewStore()}
		m.id = id.Node(rune('a' + i))
		c.members = append(c.members, m)
		of = append(of, ring.Member{ID: m.id, Weight: 1})
	}
	l, err := ring.Form(8, 3, of)
	if err != nil {
		t.Fatal(err)
	}
	c.layout = l
	for i, m := range c.members {
		c.build(m, uint64(i+1))
	}
	c.view()
	for _, owner := range l.Owners(l.Partition(c.key)) {
		c.owners = append(c.owners, c.member(owner))
	}
	i := slices.IndexFunc(c.members, func(m *member) bool { return !slices.Contains(c.owners, m) })
	c.other = c.members[i]
	return c
}

// newDeleted returns a cluster whose owners all hold the tombstone of deleted.
func newDeleted(t *testing.T) *cluster {
	t.Helper()
	c := newCluster(t)
	_, stone := deleted()
	c.store(stone, c.owners...)
	return c
}

// build starts the process of a member on its store.
func (c *cluster) build(m *member, start uint64) {
	m.start, m.tokens = start, NewTokens()
	m.replica = replica.New(replica.Config{Self: m.id, Start: start, Shards: 1, MaxHintBytes: 1 << 20, Watch: m.tokens}, m.store)
	m.replica.OpenHints(8, &m.out)
	m.Forget = New(Config{Self: m.id, Start: start, Shards: 1, TTL: ttl, Interval: interval, Seed: start}, m.replica, m.tokens, new(admission.Gate))
}

// view tells every member of all the others as they are.
func (c *cluster) view() {
	for _, m := range c.members {
		c.viewAt(m, core.PhaseDone, c.layout)
	}
}

func (c *cluster) viewAt(m *member, phase core.Phase, live ...*ring.Layout) {
	v := &core.View{Self: m.id, Cluster: 1, Layouts: core.LayoutState{Live: live, Phase: phase}}
	for _, peer := range c.members {
		if peer != m {
			v.Peers = append(v.Peers, core.Peer{ID: peer.id, Start: peer.start})
		}
	}
	m.SetView(c.now, v, &m.out)
	c.collect(m)
}

func (c *cluster) member(n id.Node) *member {
	return c.members[slices.IndexFunc(c.members, func(m *member) bool { return m.id == n })]
}

// collect makes a member's effects happen.
func (c *cluster) collect(m *member) {
	c.t.Helper()
	if m.out.Failed != nil {
		c.t.Fatal(m.out.Failed)
	}
	c.sent = append(c.sent, m.out.Sends...)
	for i := range m.out.Sends {
		if d := m.out.Sends[i].Deadline - c.now.Mono; d <= 0 || d > id.MaxMessageAge {
			c.t.Errorf("%s sends a message that lives %v; M is %v", m.id, d, id.MaxMessageAge)
		}
	}
	n := m.replica.Flush()
	m.store.Commit(m.out.Writes)
	m.out.Reset()
	if !m.slow {
		m.replica.Durable(n)
	}
}

// deliver carries what was sent, and what that leads to.
func (c *cluster) deliver() {
	c.t.Helper()
	for len(c.sent) > 0 {
		e := c.sent[0]
		c.sent = c.sent[1:]
		c.seen = append(c.seen, e)
		c.carry(e)
	}
}

func (c *cluster) carry(e core.Envelope) {
	c.t.Helper()
	to := c.member(e.To)
	if c.fails != nil && c.fails(&e) {
		from := c.member(e.From)
		from.SendFailed(c.now, &e, &from.out)
		c.collect(from)
		return
	}
	if c.drop != nil && c.drop(&e) || to.down {
		return
	}
	if e.Reply {
		if e.Start == to.start {
			to.Deliver(c.now, &e, &to.out)
		}
	} else {
		to.Serve(c.now, &e, &to.out)
	}
	c.collect(to)
}

// run lets time pass.
func (c *cluster) run(d time.Duration) {
	c.t.Helper()
	for end := c.now.Mono + d; ; {
		c.deliver()
		m := slices.MinFunc(c.members, func(a, b *member) int { return cmp.Compare(a.wakes(), b.wakes()) })
		if m.wakes() > end {
			c.pass(end - c.now.Mono)
			return
		}
		c.pass(max(0, m.wakes()-c.now.Mono))
		m.Tick(c.now, &m.out)
		c.collect(m)
	}
}

func (m *member) wakes() time.Duration {
	if at, ok := m.Next(); ok && !m.down {
		return at
	}
	return core.Never
}

func (c *cluster) pass(d time.Duration) {
	c.now.Mono += d
	c.now.Wall += d
}

// store gives a set to some members.
func (c *cluster) store(set version.Siblings, to ...*member) {
	c.t.Helper()
	for _, m := range to {
		if _, why := m.replica.Apply(c.key, set, &m.out); why != 0 {
			c.t.Fatalf("%s refuses a set", m.id)
		}
		c.collect(m)
	}
}

// remove takes the key from a member, as one does that has handed it over.
func (c *cluster) remove(m *member) {
	c.t.Helper()
	set, _ := m.replica.Read(c.key, &m.out)
	if !m.replica.Remove(c.key, set, &m.out) {
		c.t.Fatalf("%s keeps the key", m.id)
	}
	c.collect(m)
}

// restart starts a member again on a store.
func (c *cluster) restart(m *member, store *coretest.Store) {
	m.store, m.down = store, false
	c.build(m, m.start+100)
}

func (c *cluster) has(m *member) version.Siblings {
	c.t.Helper()
	set, _ := m.replica.Read(c.key, &m.out)
	return set
}

// held says which members hold the key.
func (c *cluster) held() string {
	c.t.Helper()
	s := ""
	for _, m := range c.owners {
		if !c.has(m).IsEmpty() {
			s += "o"
		} else {
			s += "-"
		}
	}
	if !c.has(c.other).IsEmpty() {
		s += "+"
	}
	return s
}

// must notes that a scenario ends badly unless these members hold the key:
// "ooo" is all owners.
func (c *cluster) must(when, want string) {
	c.t.Helper()
	if got := c.held(); got != want && c.bad == "" {
		c.bad = fmt.Sprintf("%s the key is held by %q, want %q", when, got, want)
	}
}

// expect fails unless these members hold the key.
func (c *cluster) expect(when, want string) {
	c.t.Helper()
	if c.must(when, want); c.bad != "" {
		c.t.Error(c.bad)
		c.bad = ""
	}
}

// count returns how many messages of a kind have been sent.
func count[M core.Message](c *cluster) (n int) {
	for i := range c.seen {
		if _, ok := c.seen[i].Msg.(M); ok {
			n++
		}
	}
	return n
}

func actor(n int) version.Actor {
	return version.Actor{Node: id.Node(fmt.Sprintf("z%d", n)), Epoch: version.Epoch{Start: 9, Seq: 1}}
}

// value returns a set with one value on top of set, and tombstone one that was
// deleted. Their timestamps are those of long ago.
func value(set version.Siblings, n int) version.Siblings {
	set, _ = set.Put(set.Clock, actor(n), version.Write{ID: version.WriteID{byte(n + 1)}, Data: []byte("v")})
	return set
}

func tombstone(set version.Siblings, n int) version.Siblings {
	set, _ = set.Put(set.Clock, actor(n), version.Write{ID: version.WriteID{byte(n + 100)}, Tombstone: true})
	return set
}

// deleted returns a value, and what is left when it was deleted.
func deleted() (v, stone version.Siblings) {
	v = value(version.Siblings{}, 1)
	return v, tombstone(v, 2)
}

// hint has a member keep a value of a key for an owner, or hand it over.
func (c *cluster) hint(m *member, key []byte, on bool) {
	c.t.Helper()
	v, _ := deleted()
	if on {
		if _, why := m.replica.Hint(c.now, &core.Hint{Key: key, Set: v, Owner: c.owners[0].id}, false, &m.out); why != 0 {
			c.t.Fatal(why)
		}
	} else if !m.replica.Settle(key, c.owners[0].id, v, &m.out) {
		c.t.Fatal("the hint stays")
	}
	c.collect(m)
}
