package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/audit"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// Tier 3: real processes on machines of their own, which are network
// namespaces, and what breaks there. Clients work on a few keys all the time
// and record what they do and are told; when a scenario has ended, that is held
// to what the cluster promises, by the checks that the simulator uses too.

var (
	tier3Minutes = flag.Float64("tier3.minutes", 0.2, "how long TestTier3AnyFault goes on")
	tier3Seed    = flag.Uint64("tier3.seed", 0, "of what tier 3 draws; 0 draws one")
)

const (
	replicas     = 3 // N
	quorum       = 2 // R and W
	tier3Clients = 6
	tier3Keys    = 24
	// clientPause is between two operations of a client: the machine is busy,
	// and what it does else is not starved.
	clientPause = 4 * time.Millisecond
	// requestTimeout is what requests ask for, and answerGrace how long after that
	// a client gives an answer up: of a process that stands still none comes.
	requestTimeout = time.Second
	answerGrace    = 2 * time.Second
)

// machines is a cluster of tier 3.
type machines struct {
	t     *testing.T
	net   *network
	nodes []*process
	dirs  []string
	seed  uint64
	http  *http.Client

	keys string // how the names of the clients' keys begin
	mu   sync.Mutex
	log  *audit.Log
}

// newMachines starts a cluster of that many nodes, and waits until it is
// whole.
func newMachines(t *testing.T, nodes int, args ...string) *machines {
	t.Helper()
	m := prepareMachines(t, nodes)
	m.serveAll(args...)
	return m
}

// serveAll starts a node on each machine, and waits until the cluster is whole.
func (m *machines) serveAll(args ...string) {
	m.t.Helper()
	for i := range m.nodes {
		m.serve(i, args...)
	}
	for _, p := range m.nodes {
		p.awaitMembers(len(m.nodes))
	}
}

// prepareMachines makes machines on which nothing runs yet. Scenarios mostly
// wait, each with machines of its own, so some of them run at the same time.
func prepareMachines(t *testing.T, nodes int) *machines {
	t.Helper()
	t.Parallel()
	m := &machines{t: t, seed: *tier3Seed, nodes: make([]*process, nodes)}
	if m.seed == 0 {
		m.seed = rand.Uint64()
	}
	t.Logf("seed %d", m.seed)
	dir := t.TempDir()
	for i := range nodes {
		m.dirs = append(m.dirs, filepath.Join(dir, fmt.Sprint("n", i+1)))
	}
	m.net = newNetwork(t, nodes)
	m.http = m.net.client()
	m.begin(0)
	return m
}

// begin begins a new history, on keys of its own.
func (m *machines) begin(round int) {
	m.log = audit.NewLog(replicas, m.seed+uint64(round))
	m.keys = fmt.Sprintf("round-%d/", round)
}

// serve starts node i on its machine, with intervals that suit a short test.
func (m *machines) serve(i int, args ...string) {
	m.t.Helper()
	args = append([]string{
		"--gossip-interval", "200ms", "--layout-delay", "500ms", "--anti-entropy-interval", "2s",
		"--partitions", "64", "--log-level", "warn",
	}, args...)
	if i > 0 {
		args = append(args, "--join", hostAddr(0)+":7171")
	}
	name := fmt.Sprint("n", i+1)
	p := &process{
		t: m.t, id: name, inside: m.net.hosts[i], http: m.http,
		args: append([]string{"serve", "--id", name, "--data", m.dirs[i]}, args...),
	}
	p.start(hostAddr(i) + ":7171")
	m.t.Cleanup(p.kill)
	m.nodes[i] = p
}

// others returns all nodes but one.
func (m *machines) others(i int) (out []*process) {
	for n, p := range m.nodes {
		if n != i {
			out = append(out, p)
		}
	}
	return out
}

// awaitStatus waits until node p says of node i what is wanted of it.
func (m *machines) awaitStatus(p *process, i int, want ...string) {
	m.t.Helper()
	await(m.t, fmt.Sprintf("%s to hold n%d for %v", p.id, i+1, want), func() bool {
		s, err := p.status()
		if err != nil {
			return false
		}
		for _, member := range s.Members {
			for _, w := range want {
				if member.ID == fmt.Sprint("n", i+1) && member.Status == w {
					return true
				}
			}
		}
		return false
	})
}

// caller is one of several clients that work at the same time.
type caller struct {
	m       *machines
	rng     *rand.Rand
	last    map[string]*audit.Op // that gave it its latest context, by key
	timeout time.Duration        // of its requests
}

// work has clients work until the returned function is called, which waits for
// them, and before that until they have done something of everything.
func (m *machines) work() (stop func()) {
	end := make(chan struct{})
	var running sync.WaitGroup
	for i := range tier3Clients {
		c := m.caller(i)
		running.Go(func() {
			tick := time.NewTicker(clientPause)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					c.act()
				case <-end:
					return
				}
			}
		})
	}
	return func() {
		await(m.t, "something of everything to be done", func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			tally := m.log.Tally()
			tally.Held = 1 // that is known when it is checked
			return tally.Idle() == ""
		})
		close(end)
		running.Wait()
	}
}

func (m *machines) caller(i int) *caller {
	return &caller{m: m, rng: rand.New(rand.NewPCG(m.seed, uint64(i))), last: make(map[string]*audit.Op), timeout: requestTimeout}
}

// prober returns a client whose requests must succeed, on a slow machine too.
func (m *machines) prober() *caller {
	c := m.caller(tier3Clients)
	c.timeout = patientRequest
	return c
}

// act is one operation through any node.
func (c *caller) act() {
	key := c.m.keys + strconv.Itoa(c.rng.IntN(tier3Keys))
	c.m.mu.Lock()
	o := c.m.log.Draw(c.rng, key, c.last[key], quorum)
	c.m.mu.Unlock()
	if p := c.m.nodes[c.rng.IntN(len(c.m.nodes))]; o.Write {
		_ = c.carryOut(o, p, c.m.nodes)
	} else {
		_ = c.look(o, p)
	}
}

func query(strict bool, name string, timeout time.Duration) string {
	q := fmt.Sprintf("?%s=%d&timeout=%v", name, quorum, timeout)
	if strict {
		return q + "&quorum=strict"
	}
	return q + "&quorum=sloppy"
}

// request sends a request that has so much time, and gives up on it where no
// answer comes.
func (p *process) request(timeout time.Duration, method, path string, body []byte, header map[string]string) (answer, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), timeout+answerGrace)
	defer cancel()
	return p.doWithin(ctx, method, path, body, header)
}

// read is one read, recorded.
func (c *caller) read(p *process, key string, strict bool) error {
	c.m.mu.Lock()
	o := c.m.log.Read(key, quorum, strict)
	c.m.mu.Unlock()
	return c.look(o, p)
}

// look sends a read and records how it ends.
func (c *caller) look(o *audit.Op, p *process) error {
	a, err := p.request(c.timeout, http.MethodGet, "/v1/kv/"+url.PathEscape(o.Key)+query(o.Strict, "r", c.timeout), nil, nil)
	var values [][]byte
	var clock version.Clock
	if err == nil {
		values, clock, err = a.found()
	}
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if err != nil {
		c.m.log.Failed(o, audit.Unknown)
		return err
	}
	c.m.log.Found(o, values, clock)
	c.last[o.Key] = o
	return nil
}

// found returns what a read was answered.
func (a *answer) found() (values [][]byte, c version.Clock, err error) {
	switch a.code {
	case http.StatusOK:
		values = [][]byte{a.body}
	case http.StatusMultipleChoices:
		var body struct{ Siblings []struct{ Data []byte } }
		if err := json.Unmarshal(a.body, &body); err != nil {
			return nil, c, err
		}
		for _, s := range body.Siblings {
			values = append(values, s.Data)
		}
	case http.StatusNotFound:
	default:
		return nil, c, fmt.Errorf("status %d: %s", a.code, a.body)
	}
	c, err = a.clock()
	return values, c, err
}

// clock returns the clock of an answer's context.
func (a *answer) clock() (version.Clock, error) {
	token := a.header.Get("Dynamo-Context")
	if token == "" {
		return version.Clock{}, nil
	}
	c, err := version.ParseContext(token)
	return c.Clock, err
}

// put is one put of a value of about that size, recorded.
func (c *caller) put(p *process, key string, from *audit.Op, strict bool, size int) error {
	c.m.mu.Lock()
	o := c.m.log.Put(key, from, quorum, strict, size)
	c.m.mu.Unlock()
	return c.carryOut(o, p, []*process{p})
}

// carryOut sends a write and records how it ends. Where it is not known what
// became of it, it is sent once more half of the time, to any of the nodes, as
// the write that it is.
func (c *caller) carryOut(o *audit.Op, p *process, nodes []*process) error {
	clock, outcome, err := p.send(o, c.timeout)
	if outcome == audit.Unknown && c.rng.IntN(2) == 0 {
		again, second, err2 := nodes[c.rng.IntN(len(nodes))].send(o, c.timeout)
		if second == audit.Done {
			clock, outcome, err = again, second, err2
		}
	}
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if outcome != audit.Done {
		c.m.log.Failed(o, outcome)
		return err
	}
	c.m.log.Written(o, clock)
	c.last[o.Key] = o
	return nil
}

// send sends a write to a node.
func (p *process) send(o *audit.Op, timeout time.Duration) (c version.Clock, outcome audit.Outcome, err error) {
	// In lower case net/http does not know it: it would send the write again
	// when a connection breaks, and only tell how the second one ended.
	header := map[string]string{"idempotency-key": o.ID.String()}
	if clock, ok := o.Sends(); ok && !clock.IsEmpty() {
		header["Dynamo-Context"] = version.NewContext([]byte(o.Key), clock).Token()
	}
	method := http.MethodPut
	if o.Remove {
		method = http.MethodDelete
	}
	a, err := p.request(timeout, method, "/v1/kv/"+url.PathEscape(o.Key)+query(o.Strict, "w", timeout), o.Value, header)
	if err != nil {
		return c, audit.Unknown, err
	}
	if a.code == http.StatusNoContent {
		c, err = a.clock()
		return c, audit.Done, err
	}
	var body struct {
		Error struct{ Outcome string }
	}
	if err := json.Unmarshal(a.body, &body); err != nil {
		return c, audit.Unknown, err
	}
	if body.Error.Outcome == "not_written" {
		outcome = audit.NotWritten
	}
	return c, outcome, fmt.Errorf("status %d: %s", a.code, a.body)
}

// pause stops the process of node i until the returned function is called.
func (m *machines) pause(i int) (undo func()) {
	m.t.Helper()
	p := m.nodes[i].cmd.Process
	m.net.must(pause(p))
	return func() {
		m.t.Helper()
		m.net.must(resume(p))
	}
}

// mustWrite has a client write through a node, which must succeed at the first
// try.
func (c *caller) mustWrite(p *process, key string, strict bool) {
	c.m.t.Helper()
	if err := c.put(p, key, nil, strict, 100); err != nil {
		c.m.t.Errorf("a write of %s through %s, strict %v: %v", key, p.id, strict, err)
	}
}

// awaitWrite has a client write through a node until it succeeds.
func (c *caller) awaitWrite(p *process, key string, strict bool) {
	c.m.t.Helper()
	await(c.m.t, fmt.Sprintf("a write of %s through %s, strict %v, to succeed", key, p.id, strict), func() bool {
		return c.put(p, key, nil, strict, 100) == nil
	})
}

// goOn waits until clients have begun that many operations more.
func (m *machines) goOn(operations int) {
	m.t.Helper()
	count := func() int {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.log.Len()
	}
	least := count() + operations
	await(m.t, fmt.Sprint(operations, " operations"), func() bool { return count() >= least })
}

// settle waits until the cluster has come to rest: everybody serves and holds
// everybody for alive, nobody keeps a hint or what it does not own, and the
// copies of each key are equal. It reads through no quorum.
func (m *machines) settle() map[string][]audit.Copy {
	m.t.Helper()
	for _, p := range m.nodes {
		await(m.t, p.id+" to be at rest", func() bool {
			s, err := p.status()
			rest := err == nil && s.Serving && len(s.Members) == len(m.nodes) && len(s.Hints.Pending) == 0 &&
				s.Layout.Phase == "stable" && s.Leftovers == 0
			for _, member := range s.Members {
				rest = rest && member.Status == "alive"
			}
			return rest
		})
	}
	copies := make(map[string][]audit.Copy)
	for _, key := range m.log.Keys() {
		await(m.t, "equal copies of "+key, func() bool {
			copies[key] = nil
			for _, p := range m.nodes {
				set, err := p.copyOf(key)
				if err != nil {
					return false
				}
				copies[key] = append(copies[key], audit.Copy{Node: p.id, Set: set})
			}
			return audit.Converged(copies[key], replicas)
		})
	}
	return copies
}

// check waits for rest, holds the history to the promises, and to having
// tested something.
func (m *machines) check() {
	m.t.Helper()
	copies := m.settle()
	told := make(map[string]bool)
	for _, p := range m.log.Check(func(key string) []audit.Copy { return copies[key] }) {
		m.t.Errorf("%s, of %s: %s", p.Promise, p.Key, p.What)
		if !told[p.Key] {
			told[p.Key] = true
			m.t.Logf("what was done with %s:\n%s", p.Key, m.log.Story(p.Key))
			for _, c := range copies[p.Key] {
				m.t.Logf("%s holds %v: %v", c.Node, c.Set.Clock, c.Set.Versions)
			}
		}
	}
	tally := m.log.Tally()
	m.t.Logf("%+v", tally)
	if idle := tally.Idle(); idle != "" {
		m.t.Errorf("too little happened to test anything: %s", idle)
	}
}

// copyOf returns the set that a node holds of a key itself, hints aside.
func (p *process) copyOf(key string) (set version.Siblings, err error) {
	body, err := json.Marshal(map[string]string{"key": key})
	if err != nil {
		return set, err
	}
	a, err := p.request(requestTimeout, http.MethodPost, "/rpc/get", body, nil)
	if err != nil {
		return set, err
	}
	if a.code != http.StatusOK {
		return set, fmt.Errorf("status %d: %s", a.code, a.body)
	}
	type dot struct {
		Actor   string
		Counter uint64
	}
	var got struct {
		Values []struct {
			Data        []byte
			Timestamp   time.Time
			IsTombstone bool `json:"is_tombstone"`
			Dot         dot
			WriteID     string `json:"write_id"`
		}
		Clock struct {
			Vector map[string]uint64
			Dots   []dot
		}
	}
	if err := json.Unmarshal(a.body, &got); err != nil {
		return set, err
	}
	var faults []error
	parse := func(d dot) version.Dot {
		actor, err := version.ParseActor(d.Actor)
		faults = append(faults, err)
		return version.Dot{Actor: actor, Counter: d.Counter}
	}
	for _, v := range got.Values {
		write, err := version.ParseWriteID(v.WriteID)
		faults = append(faults, err)
		set.Versions = append(set.Versions, version.Version{
			Dot: parse(v.Dot), WriteID: write, Data: v.Data, Tombstone: v.IsTombstone, Timestamp: v.Timestamp.UnixNano(),
		})
	}
	var vector, dots []version.Dot
	for actor, counter := range got.Clock.Vector {
		vector = append(vector, parse(dot{actor, counter}))
	}
	for _, d := range got.Clock.Dots {
		dots = append(dots, parse(d))
	}
	set.Clock, err = version.NewClock(vector, dots)
	return set, errors.Join(append(faults, err, set.Validate())...)
}
