package dynamo

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dynamo-kv/dynamo/internal/audit"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/kv"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
	"github.com/dynamo-kv/dynamo/internal/transport/memconn"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// Tier 2: nodes as users embed them, with gRPC, pebble and all, on machines in
// memory and in virtual time. Clients work on a few keys and record what they
// do and are told; when a scenario has ended, that is held to what the cluster
// promises, by the checks that the simulator and tier 3 use too. They run on
// pebble whatever engine the environment names: the disks in memory are made for
// it, and most of the other engines cannot run on them or keep nothing there.

const (
	virtualKeys    = 16
	virtualClients = 4
	virtualQuorum  = 2 // R and W of three replicas

	// syncTime is how long a disk takes, in virtual time, to make the store's
	// log safe: long enough for messages to overtake it. It is only that, and
	// only while the node serves, that takes any: the engine holds none of its
	// locks then.
	syncTime = 5 * time.Millisecond
)

// lab is a cluster of machines in memory.
type lab struct {
	t     *testing.T
	net   *memconn.Network
	hosts []*host
	rng   *rand.Rand // of faults

	mu  sync.Mutex
	log *audit.Log
}

// host is a machine with its disk, and the node on it.
type host struct {
	name   string
	config *Config
	disk   *vfs.Disk
	// syncs has somebody in it who waits for the disk to begin to make
	// something safe, or nobody.
	syncs  chan struct{}
	left   atomic.Uint64 // MiB that the disk has room for, of 1 GiB; 0: it does not tell
	slow   *atomic.Bool  // whether the disk of this life takes its time
	node   *Node         // of the present life; nil while there is none; guarded by the lab's mu where clients work
	life   int           // grows with each power cut; guarded by the lab's mu
	buried chan struct{} // closed when nothing is left of the node of the life before
}

// inLab runs a test on that many machines, in virtual time. change may be nil.
func inLab(t *testing.T, machines int, seed uint64, change func(*Config), test func(t *testing.T, l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t, net: memconn.New(), rng: rand.New(rand.NewPCG(seed, 0)), log: audit.NewLog(3, seed)}
		for i := range machines {
			c := DefaultConfig()
			c.Partitions = 32
			c.Shards = 4
			c.AntiEntropyInterval = 5 * time.Second
			if i > 0 {
				c.Seeds = []string{"n1:7171"}
			}
			if change != nil {
				change(c)
			}
			l.hosts = append(l.hosts, &host{name: fmt.Sprint("n", i+1), config: c, disk: vfs.NewDisk(), syncs: make(chan struct{})})
			l.start(i)
		}
		for _, h := range l.hosts {
			waitReady(t, h.node)
		}
		l.await("all to be members", func() bool {
			for _, h := range l.hosts {
				if s := h.node.Status(); len(s.Members) != machines || !s.Layout.Stable {
					return false
				}
			}
			return true
		})
		test(t, l)
		for _, h := range l.hosts {
			if h.node != nil {
				l.stop(h.node, h.slow)
			}
		}
	})
}

// start starts a node on machine i.
func (l *lab) start(i int) {
	l.t.Helper()
	h := l.hosts[i]
	slow := new(atomic.Bool)
	n, err := newNode(h.name, h.name+":7171", h.config, machine{
		listen: l.net.Listen, dial: l.net.Dialer(h.name), disk: gauged{h.slowed(h.disk.FS(), slow), &h.left},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		l.t.Fatal(err)
	}
	slow.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	h.node, h.slow = n, slow
}

// end stops a node whose disk takes its time no more.
func end(n *Node, slow *atomic.Bool) error {
	slow.Store(false)
	<-time.After(syncTime) // for a sync that has begun
	return n.Stop()
}

func (l *lab) stop(n *Node, slow *atomic.Bool) {
	l.t.Helper()
	if err := end(n, slow); err != nil {
		l.t.Fatal(err)
	}
}

// gauged is a file system that tells how much room is left on it: as much as a
// test says.
type gauged struct {
	vfs.FS
	left *atomic.Uint64
}

// GetDiskUsage implements vfs.FS.
func (g gauged) GetDiskUsage(string) (usage pebblevfs.DiskUsage, err error) {
	left := g.left.Load()
	if left == 0 {
		return usage, pebblevfs.ErrUnsupported
	}
	usage.TotalBytes, usage.AvailBytes = 1<<30, left<<20
	return usage, nil
}

// slowed returns a file system on which the log takes its time to be synced.
func (h *host) slowed(fs vfs.FS, slow *atomic.Bool) vfs.FS {
	return vfs.Watch(fs, func(op vfs.Op) error {
		if !slow.Load() || !vfs.Syncs(op) || !strings.HasSuffix(op.Path, ".log") {
			return nil
		}
		select {
		case h.syncs <- struct{}{}:
		default:
		}
		<-time.After(syncTime)
		return nil
	})
}

// awaitSync waits until the disk of machine i is busy to make something safe,
// and has been for a while: a bad moment to lose the power.
func (l *lab) awaitSync(i int) {
	select {
	case <-l.hosts[i].syncs:
		l.pass(time.Duration(l.rng.Int64N(int64(syncTime))))
	case <-time.After(5 * time.Second):
		l.t.Logf("%s has nothing to make safe", l.hosts[i].name)
	}
}

// powerOff cuts the power of machine i: what was not synced is lost, but for
// some of it. The node of before goes on for a moment, on a disk and at a cable
// that nobody else sees any more.
func (l *lab) powerOff(i int) {
	l.t.Helper()
	h := l.hosts[i]
	l.mu.Lock()
	gone, slow := h.node, h.slow
	h.node = nil
	h.life++ // what the node answers from here on reaches no client
	l.mu.Unlock()
	l.net.PowerOff(h.name)
	h.disk = h.disk.PowerCut(l.rng, []int{0, 0, 50, 100}[l.rng.IntN(4)])
	buried := make(chan struct{})
	h.buried = buried
	go func() {
		defer close(buried)
		_ = end(gone, slow) // whatever becomes of it
	}()
}

// restart stops the node of machine i in order, and starts another.
func (l *lab) restart(i int) {
	l.t.Helper()
	h := l.hosts[i]
	l.mu.Lock()
	gone := h.node
	h.node = nil
	l.mu.Unlock()
	l.stop(gone, h.slow)
	l.start(i)
}

// powerOn starts machine i again.
func (l *lab) powerOn(i int) {
	l.t.Helper()
	<-l.hosts[i].buried
	l.net.PowerOn(l.hosts[i].name)
	l.start(i)
}

// pass lets virtual time pass.
func (l *lab) pass(d time.Duration) { <-time.After(d) }

// await waits until the condition holds, for some minutes of virtual time.
func (l *lab) await(what string, ok func() bool) {
	l.t.Helper()
	const limit = 5 * time.Minute
	began := time.Now()
	for !ok() {
		if time.Since(began) > limit {
			l.t.Fatalf("still waiting for %s after %v", what, limit)
		}
		l.pass(100 * time.Millisecond)
	}
}

// names returns the names of machines.
func (l *lab) names(machines ...int) (out []string) {
	for _, i := range machines {
		out = append(out, l.hosts[i].name)
	}
	return out
}

// split cuts all ways between some machines and the others.
func (l *lab) split(side ...int) {
	in := make(map[int]bool)
	for _, i := range side {
		in[i] = true
	}
	var others []int
	for i := range l.hosts {
		if !in[i] {
			others = append(others, i)
		}
	}
	l.net.Split(l.names(side...), l.names(others...))
}

// believes says what node i thinks of node j: alive, suspected or dead.
func (l *lab) believes(i, j int) string {
	for _, m := range l.hosts[i].node.Status().Members {
		if m.ID == l.hosts[j].name {
			return m.Status
		}
	}
	return ""
}

// user is a client.
type user struct {
	l    *lab
	rng  *rand.Rand
	last map[string]*audit.Op // that gave it its latest context, by key
}

func (l *lab) user(i int) *user {
	return &user{l: l, rng: rand.New(rand.NewPCG(l.rng.Uint64(), uint64(i))), last: make(map[string]*audit.Op)}
}

// work has clients work, through any node that has power, until the returned
// function is called, which waits for them.
func (l *lab) work() (stop func()) {
	end := make(chan struct{})
	var running sync.WaitGroup
	for i := range virtualClients {
		u := l.user(i)
		running.Go(func() {
			for {
				select {
				case <-end:
					return
				case <-time.After(time.Duration(u.rng.IntN(250)) * time.Millisecond):
					u.act()
				}
			}
		})
	}
	return func() {
		close(end)
		running.Wait()
	}
}

// act is one operation through a node that has power.
func (u *user) act() {
	key := fmt.Sprint("key-", u.rng.IntN(virtualKeys))
	u.l.mu.Lock()
	o := u.l.log.Draw(u.rng, key, u.last[key], virtualQuorum)
	u.l.mu.Unlock()
	_ = u.carryOut(o, u.rng.IntN(len(u.l.hosts)))
}

// put is one put through node i, recorded.
func (u *user) put(i int, key string, strict bool) error {
	u.l.mu.Lock()
	o := u.l.log.Put(key, nil, virtualQuorum, strict, 100)
	u.l.mu.Unlock()
	return u.carryOut(o, i)
}

// read is one read through node i, recorded.
func (u *user) read(i int, key string, strict bool) error {
	u.l.mu.Lock()
	o := u.l.log.Read(key, virtualQuorum, strict)
	u.l.mu.Unlock()
	return u.carryOut(o, i)
}

var errNoPower = errors.New("the node's machine has no power, or lost it meanwhile")

// carryOut carries an operation out through node i and records how it ends. An
// answer of a machine that has lost its power meanwhile reaches nobody.
func (u *user) carryOut(o *audit.Op, i int) error {
	l, h := u.l, u.l.hosts[i]
	l.mu.Lock()
	node, life := h.node, h.life
	l.mu.Unlock()
	var values [][]byte
	var c *Context
	err := errNoPower
	if node != nil {
		values, c, err = send(l.t, node, o)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var e *Error
	switch {
	case node == nil:
		l.log.Failed(o, audit.NotWritten) // it was sent to nobody
		return err
	case h.life != life:
		l.log.Failed(o, audit.Unknown)
		return errNoPower
	case errors.As(err, &e) && e.Outcome == NotWritten:
		l.log.Failed(o, audit.NotWritten)
		return err
	case err != nil:
		l.log.Failed(o, audit.Unknown)
		return err
	}
	clock := version.Clock{}
	if c != nil {
		clock = kv.Inner(c).Clock
	}
	if o.Write {
		l.log.Written(o, clock)
	} else {
		l.log.Found(o, values, clock)
	}
	u.last[o.Key] = o
	return nil
}

// send carries an operation out. A read that finds nothing is a success.
func send(t *testing.T, n *Node, o *audit.Op) (values [][]byte, c *Context, err error) {
	options := []Option{Sloppy(), WithTimeout(time.Second)}
	if o.Strict {
		options[0] = Strict()
	}
	if !o.Write {
		r, err := n.Get(t.Context(), o.Key, append(options, WithR(o.Quorum))...)
		if err != nil && !errors.Is(err, ErrKeyNotFound) {
			return nil, nil, err
		}
		for _, v := range r.Values {
			values = append(values, v.Data)
		}
		return values, r.Context, nil
	}
	if clock, ok := o.Sends(); ok && !clock.IsEmpty() {
		c = kv.NewContext(version.NewContext([]byte(o.Key), clock))
	}
	options = append(options, WithW(o.Quorum), WithIdempotencyKey(o.ID.String()))
	if !o.Remove {
		c, err = n.Put(t.Context(), o.Key, o.Value, c, options...)
		return nil, c, err
	}
	c, err = n.Delete(t.Context(), o.Key, c, options...)
	return nil, c, err
}

// copies returns what the nodes hold of a key themselves, hints aside.
func (l *lab) copies(key string) (out []audit.Copy) {
	for _, h := range l.hosts {
		q := &core.Request{Op: core.OpInspect, Key: []byte(key)}
		r := h.node.parts.Load().runtime.Do(l.t.Context(), q, 10*time.Second)
		if r.Code != core.CodeOK && r.Code != core.CodeNotFound {
			l.t.Fatalf("what %s holds of %s: %v", h.name, key, r.Code)
		}
		out = append(out, audit.Copy{Node: h.name, Set: r.Set})
	}
	return out
}

// rests says whether everybody serves and holds everybody for alive, and nobody
// keeps a hint.
func (l *lab) rests() bool {
	for i, h := range l.hosts {
		s := h.node.Status()
		if !s.Serving || !s.Layout.Stable || len(s.Hints.Pending) > 0 || len(s.Members) != len(l.hosts) {
			return false
		}
		for j := range l.hosts {
			if l.believes(i, j) != "alive" {
				return false
			}
		}
	}
	return true
}

// check waits until the cluster has come to rest, and holds the history to the
// promises.
func (l *lab) check() {
	l.t.Helper()
	told := make(map[string]bool)
	for _, p := range l.problems() {
		l.t.Errorf("%s, of %s: %s", p.Promise, p.Key, p.What)
		if !told[p.Key] {
			told[p.Key] = true
			l.t.Logf("what was done with %s:\n%s", p.Key, l.log.Story(p.Key))
		}
	}
	tally := l.log.Tally()
	l.t.Logf("%+v", tally)
	if idle := tally.Idle(); idle != "" {
		l.t.Errorf("too little happened to test anything: %s", idle)
	}
}

// problems waits until the cluster has come to rest and the copies of each key
// are equal, which no read helps with, and returns what is wrong with them.
func (l *lab) problems() []audit.Problem {
	l.t.Helper()
	l.await("the cluster to rest", l.rests)
	copies := make(map[string][]audit.Copy)
	for _, key := range l.log.Keys() {
		l.await("equal copies of "+key, func() bool {
			copies[key] = l.copies(key)
			return audit.Converged(copies[key], 3)
		})
	}
	return l.log.Check(func(key string) []audit.Copy { return copies[key] })
}
