package membership_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// TestScenarios plays the files of testdata. Their commands:
//
//	start NAME [addr=] [seeds=(…)] [zone=] [weight=] [instance=] [n=] [delay=] [auto=] [force] [wipe]
//	crash NAME
//	join NAME seeds=(…) [timeout=]      ask for a Join; run shows its end
//	run DURATION [quiet] [messages]     let time pass; shows views and ends of Joins, and messages
//	cut a=(…) b=(…) [one-way], heal     network partitions; one-way: from a to b
//	stall NAME DURATION                 the process stands still
//	watch NAME…                         show what these nodes think of others when it changes
//	report NAME PEER [ok=N] [failed=N]  how a shard of the node fares with a peer
//	alias NAME ADDRESS                  the node listens there, too
//	put NAME                            store a key
//	copy NAME, restore NAME             copy what a node's disk has durably, and put it back
//	status [NAME…]                      what the nodes show
//	agree                               whether all nodes that run go by the same
//	forks number=N                      whether the largest of the layouts of that number won
//	counters NAME
//
// n1:1 is the address of n1, which is what a seed n1 means; n1/2 names the
// second instance of n1. A name of a layout is printed as number and a letter in the order of
// appearance, a cluster as C1, C2, so that the files do not depend on digests.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/scenarios", func(t *testing.T, path string) {
		p := &play{world: newWorld(1), t: t, copies: make(map[string]map[string][]byte)}
		p.log = func(format string, args ...any) {
			line := fmt.Sprintf("%6.3f  ", p.now.Seconds()) + fmt.Sprintf(format, args...)
			p.output.WriteString(strings.TrimRight(line, " ") + "\n")
		}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			p.t = t
			p.output.Reset()
			p.command(d)
			if len(p.faults) > 0 {
				t.Errorf("%s: broken invariants:\n%s", d.Pos, strings.Join(p.faults, "\n"))
			}
			return p.output.String()
		})
	})
}

type play struct {
	*world
	t      *testing.T
	output strings.Builder
	copies map[string]map[string][]byte // of disks, by node
}

func (p *play) command(d *datadriven.TestData) {
	switch d.Cmd {
	case "start":
		p.start(d)
	case "crash":
		p.node(d).crash()
	case "join":
		p.join(d)
	case "run":
		log := p.log
		if d.HasArg("quiet") {
			p.log = func(string, ...any) {}
		}
		p.messages = d.HasArg("messages")
		p.run(p.duration(d.CmdArgs[0].Key))
		p.log = log
	case "cut":
		p.cutOff(d)
	case "stall":
		p.node(d).stalled = p.now + p.duration(d.CmdArgs[1].Key)
	case "watch":
		for _, arg := range d.CmdArgs {
			p.named(arg.Key).watched = true
		}
	case "report":
		p.report(d)
	case "heal":
		clear(p.cut)
	case "copy":
		p.copies[d.CmdArgs[0].Key] = maps.Clone(p.node(d).store.saved)
	case "restore":
		s := p.node(d).store
		s.saved = maps.Clone(p.copies[d.CmdArgs[0].Key])
		s.crash()
	case "put":
		p.node(d).store.apply([]core.Write{{Key: core.DataKey([]byte("k")), Value: []byte("v")}})
	case "status":
		p.showStatus(d)
	case "alias":
		p.aliases[d.CmdArgs[1].Key] = p.node(d).cfg.Addr
	case "forks":
		p.showForks(d)
	case "agree":
		p.showAgreement()
	case "counters":
		fmt.Fprintf(&p.output, "%+v\n", p.node(d).machine.Counters())
	default:
		d.Fatalf(p.t, "no such command: %s", d.Cmd)
	}
}

func stateOf(e *core.Envelope) *core.GossipState {
	switch m := e.Msg.(type) {
	case *core.Gossip:
		return &m.State
	case *core.GossipReply:
		return &m.State
	}
	return &core.GossipState{}
}

// showMessage writes what a message carries: records as n1#2.7, incarnation 2
// changed at 7; heartbeats in the order of the hashes; what is listed or asked for.
func showMessage(e *core.Envelope) string {
	s, kind := stateOf(e), "asks,"
	if e.Reply {
		kind = "answers,"
	}
	parts := []string{kind}
	for _, m := range s.Members {
		parts = append(parts, fmt.Sprintf("%s#%d.%d", m.ID, m.Incarnation, m.Changed))
	}
	for _, b := range s.Digest.Chunk {
		if len(b.Heartbeats) > 0 {
			parts = append(parts, fmt.Sprintf("heartbeats %v", b.Heartbeats))
		}
	}
	for _, v := range s.Digest.Versions {
		parts = append(parts, fmt.Sprintf("has #%d.%d", v.Incarnation, v.Changed))
	}
	if len(s.Wants) > 0 {
		parts = append(parts, fmt.Sprintf("wants %d", len(s.Wants)))
	}
	if len(s.Layouts.Live) > 0 {
		parts = append(parts, "layouts")
	}
	return strings.Join(parts, " ")
}

func (p *play) cutOff(d *datadriven.TestData) {
	var a, b []string
	for _, arg := range d.CmdArgs {
		switch arg.Key {
		case "a":
			a = addresses(arg.Vals)
		case "b":
			b = addresses(arg.Vals)
		}
	}
	for _, x := range a {
		for _, y := range b {
			p.cut[[2]string{x, y}] = true
			if !d.HasArg("one-way") {
				p.cut[[2]string{y, x}] = true
			}
		}
	}
}

func (p *play) report(d *datadriven.TestData) {
	r := core.PeerReport{Peer: id.Node(d.CmdArgs[1].Key)}
	d.MaybeScanArgs(p.t, "ok", &r.OK)
	d.MaybeScanArgs(p.t, "failed", &r.Failed)
	n := p.node(d)
	n.step(func(now core.Now, out *core.Out) { n.machine.Report(now, []core.PeerReport{r}, out) })
}

func (p *play) named(name string) *node {
	i := slices.IndexFunc(p.nodes, func(n *node) bool { return string(n.cfg.Self) == name })
	if i < 0 {
		p.t.Fatalf("no node %s", name)
	}
	return p.nodes[i]
}

// node returns the one named by the command's first argument; of several
// instances of an ID, "n1/2" names the second.
func (p *play) node(d *datadriven.TestData) *node {
	name, instance, several := strings.Cut(d.CmdArgs[0].Key, "/")
	if !several {
		return p.named(name)
	}
	for _, n := range p.nodes {
		if string(n.cfg.Self) == name && fmt.Sprint(n.cfg.Instance) == instance {
			return n
		}
	}
	p.t.Fatalf("no instance %s of %s", instance, name)
	return nil
}

func (p *play) duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return d
}

func (p *play) start(d *datadriven.TestData) {
	name, instance, several := strings.Cut(d.CmdArgs[0].Key, "/")
	i := slices.IndexFunc(p.nodes, func(n *node) bool {
		return string(n.cfg.Self) == name && (!several || fmt.Sprint(n.cfg.Instance) == instance)
	})
	var n *node
	if i >= 0 {
		n = p.nodes[i]
	} else {
		cfg := config(name)
		if several {
			_, err := fmt.Sscan(instance, &cfg.Instance)
			if err != nil {
				p.t.Fatal(err)
			}
		}
		n = p.add(cfg)
	}
	for _, arg := range d.CmdArgs[1:] {
		p.configure(d, n, arg)
	}
	if err := n.begin(); err != nil {
		fmt.Fprintf(&p.output, "%v\n", err)
	}
}

func (p *play) configure(d *datadriven.TestData, n *node, arg datadriven.CmdArg) {
	switch arg.Key {
	case "addr":
		n.cfg.Addr = arg.Vals[0]
	case "seeds":
		n.cfg.Seeds = addresses(arg.Vals)
	case "zone":
		n.cfg.Zone = arg.Vals[0]
	case "weight":
		arg.Scan(p.t, 0, &n.cfg.Weight)
	case "n":
		arg.Scan(p.t, 0, &n.cfg.N)
	case "delay":
		n.cfg.LayoutDelay = p.duration(arg.Vals[0])
	case "auto":
		n.cfg.LayoutAuto = arg.Vals[0] == "on"
	case "force":
		n.cfg.ForceServe = true
	case "wipe":
		n.store = newStore()
		n.cfg.Instance++
		n.cluster = 0
	default:
		d.Fatalf(p.t, "no such argument: %s", arg.Key)
	}
}

// addresses writes n1 for n1:1.
func addresses(names []string) []string {
	var addrs []string
	for _, n := range names {
		if !strings.Contains(n, ":") {
			n += ":1"
		}
		addrs = append(addrs, n)
	}
	return addrs
}

func (p *play) join(d *datadriven.TestData) {
	n := p.node(d)
	timeout := 20 * time.Second
	var seeds []string
	for _, arg := range d.CmdArgs[1:] {
		if arg.Key == "timeout" {
			timeout = p.duration(arg.Vals[0])
		} else {
			seeds = addresses(arg.Vals)
		}
	}
	n.step(func(now core.Now, out *core.Out) {
		n.machine.Join(now, &core.Join{Req: 1, Seeds: seeds, Deadline: now.Mono + timeout}, out)
	})
}

func (p *play) showStatus(d *datadriven.TestData) {
	for _, n := range p.nodes {
		named := slices.ContainsFunc(d.CmdArgs, func(a datadriven.CmdArg) bool {
			name, instance, several := strings.Cut(a.Key, "/")
			return id.Node(name) == n.cfg.Self && (!several || instance == fmt.Sprint(n.cfg.Instance))
		})
		if n.machine == nil || len(d.CmdArgs) > 0 && !named {
			continue
		}
		s := n.machine.Status()
		fmt.Fprintf(&p.output, "%s in %s, %s", s.Self, p.showCluster(s.Cluster), p.showLayouts(s.Layouts))
		if s.UnderReplicated {
			fmt.Fprintf(&p.output, ", under-replicated")
		}
		if len(s.Blocking) > 0 {
			fmt.Fprintf(&p.output, ", blocked by %v", s.Blocking)
		}
		if !s.Serving {
			fmt.Fprintf(&p.output, ", waits for %s", p.anonymous(s.WaitsFor))
		}
		p.output.WriteByte('\n')
		for _, m := range s.Members {
			fmt.Fprintf(&p.output, "  %s %s %s %s inc=%d instance=%d\n", m.ID, m.Addr, m.State, m.Status, m.Incarnation, m.Instance)
		}
	}
}

func (p *play) showAgreement() {
	var running []core.ClusterStatus
	for _, n := range p.nodes {
		if n.machine != nil {
			running = append(running, n.machine.Status())
		}
	}
	first := running[0]
	for _, s := range running[1:] {
		if s.Cluster != first.Cluster || s.Layouts.Stamp() != first.Layouts.Stamp() {
			fmt.Fprintf(&p.output, "%s and %s differ\n", first.Self, s.Self)
		}
	}
	newest := first.Layouts.Live[len(first.Layouts.Live)-1]
	fmt.Fprintf(&p.output, "%d nodes, %s:", len(running), p.showLayouts(first.Layouts))
	for _, m := range newest.Members() {
		fmt.Fprintf(&p.output, " %s", m.ID)
	}
	p.output.WriteByte('\n')
}

// showForks says whether every node goes by the largest of the layouts of a
// number, which of them that is does not matter.
func (p *play) showForks(d *datadriven.TestData) {
	var number uint64
	d.ScanArgs(p.t, "number", &number)
	forks := 0
	var largest ring.Name
	for _, name := range p.names {
		if name.Number == number {
			forks++
			if largest.Compare(name) < 0 {
				largest = name
			}
		}
	}
	followers := 0
	for _, n := range p.nodes {
		if n.machine.Status().Layouts.Live[0].Name() == largest {
			followers++
		}
	}
	fmt.Fprintf(&p.output, "%d layouts of number %d; %d of %d nodes go by the largest\n", forks, number, followers, len(p.nodes))
}

// anonymous replaces clusters in a text by their names here.
func (w *world) anonymous(text string) string {
	for i, c := range w.clusters {
		text = strings.ReplaceAll(text, fmt.Sprintf("%016x", c), fmt.Sprintf("C%d", i+1))
	}
	return text
}

func (w *world) showCluster(c uint64) string {
	if c == 0 {
		return "no cluster"
	}
	i := slices.Index(w.clusters, c)
	if i < 0 {
		w.clusters = append(w.clusters, c)
		i = len(w.clusters) - 1
	}
	return fmt.Sprintf("C%d", i+1)
}

// showLayouts writes a state as "1a → 2a copying".
func (w *world) showLayouts(l core.LayoutState) string {
	var names []string
	for _, layout := range l.Live {
		names = append(names, w.showName(layout.Name()))
	}
	return strings.TrimSpace(strings.Join(names, " → ") + " " + l.Phase.String())
}

func (w *world) showName(name ring.Name) string {
	same := 0
	for _, n := range w.names {
		if n == name {
			return fmt.Sprintf("%d%c", name.Number, 'a'+same)
		}
		if n.Number == name.Number {
			same++
		}
	}
	w.names = append(w.names, name)
	return fmt.Sprintf("%d%c", name.Number, 'a'+same)
}
