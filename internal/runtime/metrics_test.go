package runtime_test

import (
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/backoff"
	"github.com/dynamo-kv/dynamo/internal/breaker"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/metrics"
	"github.com/dynamo-kv/dynamo/internal/node"
	"github.com/dynamo-kv/dynamo/internal/runtime"
	"github.com/dynamo-kv/dynamo/internal/storage/memory"
	"github.com/dynamo-kv/dynamo/internal/transport/memnet"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// watched is a cluster in virtual time whose metrics are looked at all the
// while, as a scraper would.
type watched struct {
	t       *testing.T
	network *memnet.Network
	nodes   []*observed
	before  map[string]map[string]float64        // by node, then series: when it was first seen
	moved   map[string]bool                      // series that have had another value since, at any node
	loses   func(to string, m core.Message) bool // what is lost on its way; guarded by mu
	mu      sync.Mutex
}

// observed is one node of it.
type observed struct {
	*runtime.Runtime
	engine    *slowEngine
	transport *memnet.Transport
	registry  *prometheus.Registry
	starts    uint64
	disks     uint64 // that it has had
}

// filter is a transport that loses what takes says.
type filter struct {
	runtime.Transport
	takes func(to string, m core.Message) bool
}

func (f filter) Send(addr string, e *core.Envelope) bool {
	return f.takes(addr, e.Msg) || f.Transport.Send(addr, e)
}

// slowEngine is an engine whose commits can be held up.
type slowEngine struct {
	*memory.Engine
	mu   sync.Mutex
	held chan struct{} // nil: they are not; closed when they may go on
}

func (e *slowEngine) hold() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held = make(chan struct{})
}

func (e *slowEngine) release() {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.held)
	e.held = nil
}

func (e *slowEngine) Commit(batch []core.Write, d core.Durability, done func(error)) {
	e.mu.Lock()
	held := e.held
	e.mu.Unlock()
	if held != nil {
		<-held
	}
	e.Engine.Commit(batch, d, done)
}

func newWatched(t *testing.T, nodes int) *watched {
	t.Helper()
	w := &watched{
		t: t, network: memnet.New(1), before: map[string]map[string]float64{}, moved: map[string]bool{},
	}
	for range nodes {
		w.add(string(name(0)))
		w.look()
	}
	for _, n := range w.nodes {
		await(t, n.Runtime, func(s core.ClusterStatus) bool {
			return len(s.Members) == nodes && !s.UnderReplicated && s.Layouts.Phase == core.PhaseDone && allActive(s)
		})
	}
	w.look()
	return w
}

// add starts one more node, with that seed.
func (w *watched) add(seed string) {
	w.t.Helper()
	n := &observed{engine: &slowEngine{Engine: memory.New()}, disks: 1, registry: prometheus.NewRegistry()}
	n.registry.MustRegister(metrics.New(func() (*metrics.Reading, bool) {
		return &metrics.Reading{
			Status: n.Status(), Counters: n.Counters(), Queued: n.Queued(),
			Storage: n.engine.Stats(), Transport: n.transport.Stats(), Buckets: metrics.DefaultBuckets(),
		}, true
	}))
	w.nodes = append(w.nodes, n)
	w.start(len(w.nodes)-1, seed)
}

func (w *watched) start(i int, seed string) {
	w.t.Helper()
	n := w.nodes[i]
	n.starts++
	breakers := breaker.Default()
	breakers.Reset = 5 * time.Second // so that they are tried again while this lasts
	o := runtime.Options{
		Engine: n.engine,
		Logger: slog.New(slog.DiscardHandler),
		Connect: func(h runtime.Handler, mono func() time.Duration) (_ runtime.Transport, err error) {
			n.transport, err = w.network.Transport(string(name(i)), h, mono)
			return filter{n.transport, w.lost}, err
		},
		Node: node.Options{
			Admit: true, Admission: admission.DefaultLimits(), Breaker: breakers, Retry: backoff.Default(),
			Select: true, ProbeShare: 1, ReadHedge: true,
			Self: name(i), Start: n.starts<<8 + uint64(i+1), Instance: n.disks<<8 + uint64(i+1), Addr: string(name(i)), Weight: 1, Seed: n.starts,
			Shards: 2, Partitions: 32, N: 3, R: 2, W: 2, MaxHintBytes: 1 << 20, RecordCacheBytes: 1 << 20, PeerTimeout: 300 * time.Millisecond,
			RepairBytes:    2, // of which each shard has one: one read repairs at a time
			GossipInterval: time.Second, LayoutDelay: time.Second, LayoutAuto: true, AntiEntropyInterval: compareEach,
			TombstoneTTL: id.MinTombstoneTTL, TombstoneInterval: time.Minute, Buckets: metrics.DefaultBuckets(),
		},
	}
	if name(i) != id.Node(seed) {
		o.Node.Seeds = []string{seed}
	}
	r, err := runtime.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	n.Runtime = r
	w.t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			w.t.Error(err)
		}
	})
}

// lost says whether a message is to be lost.
func (w *watched) lost(to string, m core.Message) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.loses != nil && w.loses(to, m)
}

// lose has some messages lost from now on; nil: none.
func (w *watched) lose(which func(to string, m core.Message) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loses = which
}

func (w *watched) stop(i int) {
	w.t.Helper()
	if err := w.nodes[i].Stop(); err != nil {
		w.t.Fatal(err)
	}
}

// series returns all that a node shows: values by name and labels, of a
// histogram the number of its observations.
func (w *watched) series(i int) map[string]float64 {
	w.t.Helper()
	families, err := w.nodes[i].registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			out[seriesName(f.GetName(), m)] = valueOf(m)
		}
	}
	return out
}

func seriesName(family string, m *dto.Metric) string {
	var labels []string
	for _, l := range m.GetLabel() {
		labels = append(labels, l.GetName()+"="+l.GetValue())
	}
	return family + "{" + strings.Join(labels, ",") + "}"
}

func valueOf(m *dto.Metric) float64 {
	switch {
	case m.GetHistogram() != nil:
		return float64(m.GetHistogram().GetSampleCount())
	case m.GetCounter() != nil:
		return m.GetCounter().GetValue()
	}
	return m.GetGauge().GetValue()
}

// look notes what has moved.
func (w *watched) look() {
	w.t.Helper()
	for i := range w.nodes {
		key := fmt.Sprint(name(i), w.nodes[i].starts)
		now := w.series(i)
		if w.before[key] == nil {
			w.before[key] = now
		}
		for series, value := range now {
			counts := strings.Contains(series, "_total{") // from 0, perhaps before the first look
			if value != w.before[key][series] || counts && value > 0 {
				w.moved[anyMember(series)] = true
			}
		}
	}
}

// anyMember is a series with one name for all members that it may be about.
func anyMember(series string) string { return memberLabel.ReplaceAllString(series, "$1=n*") }

var memberLabel = regexp.MustCompile(`(peer|target)=n\d`)

// pass lets time go by, and looks at each step.
func (w *watched) pass(d, step time.Duration) {
	w.t.Helper()
	for range d / step {
		<-time.After(step)
		w.look()
	}
}

// sum returns a series over all nodes.
func (w *watched) sum(series string) (sum float64) {
	w.t.Helper()
	for i := range w.nodes {
		sum += w.series(i)[series]
	}
	return sum
}

// grows fails unless a series, over all nodes, is greater by at least so much
// after what is done. Metrics of what a shard reports may follow within a
// second.
func (w *watched) grows(by float64, series string, do func()) {
	w.t.Helper()
	before := w.sum(series)
	do()
	for range 20 {
		if w.sum(series) >= before+by {
			break
		}
		<-time.After(100 * time.Millisecond)
	}
	if got := w.sum(series) - before; got < by {
		w.t.Errorf("%s has grown by %v; want %v at least", series, got, by)
	}
	w.look()
}

// do is one request through a node.
func (w *watched) do(n int, op core.Op, key string, o core.Options, timeout time.Duration) core.Result {
	q := &core.Request{Op: op, Key: []byte(key), Options: o}
	if op == core.OpPut {
		q.Value = []byte("v")
	}
	return w.nodes[n].Do(w.t.Context(), q, timeout)
}

func (w *watched) want(code core.Code, r core.Result) {
	w.t.Helper()
	if r.Code != code {
		w.t.Errorf("a request ended with %v; want %v", r.Code, code)
	}
}

// healed waits until all is well again.
func (w *watched) healed() {
	w.t.Helper()
	w.network.Heal()
	for _, n := range w.nodes {
		await(w.t, n.Runtime, func(s core.ClusterStatus) bool {
			return len(s.Hints.Pending) == 0 && !slices.ContainsFunc(s.Members, func(m core.MemberStatus) bool { return m.Status != core.Alive })
		})
	}
	synctest.Wait()
	w.look()
}

const keys = 24

func key(i int) string { return fmt.Sprint("key-", i) }

const usual = 5 * time.Second // the time that a request has, unless it is to be too short

func (w *watched) healthy() {
	overwrite := core.Options{Overwrite: true}
	w.grows(keys, "dynamo_requests_total{op=put,status=ok}", func() {
		w.grows(keys, "dynamo_quorum_total{result=met,type=write}", func() {
			w.grows(1, "dynamo_forwards_executed_total{}", func() {
				for i := range keys {
					w.want(core.CodeOK, w.do(i%4, core.OpPut, key(i), overwrite, usual))
				}
			})
		})
	})
	w.grows(keys, "dynamo_request_duration_seconds{op=get}", func() {
		w.grows(keys, "dynamo_quorum_total{result=met,type=read}", func() {
			for i := range keys {
				w.want(core.CodeOK, w.do(i%4, core.OpGet, key(i), core.Options{}, usual))
			}
		})
	})
	w.grows(1, "dynamo_requests_total{op=get,status=not_found}", func() {
		w.want(core.CodeNotFound, w.do(0, core.OpGet, "nothing", core.Options{}, usual))
	})
	w.grows(1, "dynamo_divergent_versions_total{}", func() {
		for range 2 {
			w.do(0, core.OpPut, "siblings", core.Options{}, usual)
		}
		w.want(core.CodeOK, w.do(1, core.OpGet, "siblings", core.Options{}, usual))
	})
	w.grows(1, "dynamo_hedged_reads_total{}", func() {
		first := true // to be read from, and does not answer
		w.lose(func(_ string, m core.Message) bool {
			_, read := m.(*core.Read)
			lost := read && first
			first = first && !read
			return lost
		})
		w.want(core.CodeOK, w.do(0, core.OpGet, key(0), core.Options{}, usual))
		w.lose(nil)
	})
	w.grows(1, "dynamo_antientropy_syncs_total{}", func() { w.pass(2*compareEach, time.Second) })
}

// silence: a node can suddenly not be reached, and nobody knows it yet.
func (w *watched) silence() {
	strict := core.Options{Quorum: core.QuorumStrict, R: 3, W: 3, Overwrite: true}
	const short = 200 * time.Millisecond
	w.network.Isolate("n4")
	w.grows(1, "dynamo_quorum_total{result=expired,type=read}", func() {
		for i := range keys {
			w.do(0, core.OpGet, key(i), strict, short)
		}
	})
	w.grows(1, "dynamo_quorum_total{result=expired,type=write}", func() {
		w.grows(1, "dynamo_requests_total{op=put,status=timeout}", func() {
			for i := range keys {
				w.do(0, core.OpPut, key(i), strict, short)
			}
		})
	})
	w.grows(1, "dynamo_quorum_total{result=lost,type=read}", func() { // n2's breaker is closed yet
		w.want(core.CodeQuorum, w.do(1, core.OpGet, w.ownedBy("n4"), strict, usual))
	})
	w.pass(30*time.Second, 500*time.Millisecond) // it is suspected, then dead
	if got := w.series(0)["dynamo_cluster_members{status=dead}"]; got != 1 {
		w.t.Errorf("n1 holds %v members for dead", got)
	}
}

// absence: everybody knows that the node cannot be reached.
func (w *watched) absence() {
	w.grows(1, "dynamo_hints_stored_total{}", func() {
		w.grows(1, "dynamo_quorum_fallbacks_total{type=write}", func() {
			for i := range keys {
				w.want(core.CodeOK, w.do(i%3, core.OpPut, key(i), core.Options{Overwrite: true, W: 3}, usual))
			}
		})
	})
	w.grows(1, "dynamo_quorum_fallbacks_total{type=read}", func() {
		for i := range keys {
			w.want(core.CodeOK, w.do(i%3, core.OpGet, key(i), core.Options{R: 3}, usual))
		}
	})
	w.grows(1, "dynamo_quorum_total{result=lost,type=write}", func() {
		for i := range keys {
			w.do(0, core.OpPut, key(i), core.Options{Quorum: core.QuorumStrict, W: 3, Overwrite: true}, usual)
		}
	})
	w.look()
	if w.sum("dynamo_hints_pending{target=n4}") == 0 || w.sum("dynamo_hints_bytes{}") == 0 {
		w.t.Error("nothing is kept for n4")
	}
	w.grows(1, "dynamo_hints_delivered_total{}", w.healed)
	if got := w.sum("dynamo_hints_pending{target=n4}") + w.sum("dynamo_hints_bytes{}"); got != 0 {
		w.t.Errorf("after the delivery keys and bytes of hints are %v", got)
	}
}

// behind: an owner has missed writes, and is read from before it has caught up.
func (w *watched) behind() {
	all := core.Options{Quorum: core.QuorumStrict, R: 3}
	miss := func() {
		w.network.Isolate("n4")
		w.pass(30*time.Second, time.Second)
		for i := range keys {
			w.want(core.CodeOK, w.do(i%3, core.OpPut, key(i), core.Options{Quorum: core.QuorumStrict, Overwrite: true}, usual))
		}
		w.network.Heal()
	}
	w.grows(1, "dynamo_read_repairs_total{}", func() {
		w.grows(1, "dynamo_read_repairs_dropped_total{}", func() {
			w.grows(1, "dynamo_limits_hit_total{limit=repairs}", func() {
				miss()
				var reads sync.WaitGroup
				for i := range keys { // at once: there is not room for so many repairs
					reads.Go(func() { w.do(i%3, core.OpGet, key(i), all, usual) })
				}
				reads.Wait()
			})
		})
	})
	w.healed()
	blocking := core.Options{R: 3, Repair: core.RepairBlocking}
	w.grows(1, "dynamo_blocking_reads_waited_total{}", func() {
		w.grows(1, "dynamo_quorum_total{result=met,type=repair}", func() {
			miss()
			for i := range keys {
				w.do(i%3, core.OpGet, key(i), blocking, usual)
			}
		})
	})
	w.healed()
	w.grows(2, "dynamo_read_repairs_failed_total{}", func() {
		w.lose(func(to string, m core.Message) bool {
			_, apply := m.(*core.Apply)
			return apply && to == "n4"
		})
		miss()
		key := w.ownedBy("n4")
		w.grows(1, "dynamo_quorum_total{result=expired,type=repair}", func() {
			w.want(core.CodeTimeout, w.do(0, core.OpGet, key, blocking, 200*time.Millisecond))
		})
		w.grows(1, "dynamo_quorum_total{result=lost,type=repair}", func() {
			w.want(core.CodeQuorum, w.do(0, core.OpGet, key, blocking, usual))
		})
		w.lose(nil)
	})
	w.healed()
}

// ownedBy returns one of the keys that a node owns.
func (w *watched) ownedBy(n id.Node) string {
	l := w.nodes[0].Status().Layouts.Live[0]
	for i := range keys {
		if l.Owns(n, l.Partition([]byte(key(i)))) {
			return key(i)
		}
	}
	w.t.Fatalf("%s owns none of the keys", n)
	return ""
}

// disks: a node loses its disk, and another one is stopped in order.
func (w *watched) disks() {
	w.stop(3)
	n := w.nodes[3]
	n.engine = &slowEngine{Engine: memory.New()}
	n.disks++
	w.start(3, "n1")
	w.grows(1, "dynamo_antientropy_keys_synced_total{}", func() { w.pass(3*compareEach, 500*time.Millisecond) })
	w.stop(2)
	w.start(2, "n1")
	w.look()
	w.healed()
	w.pass(2*compareEach, time.Second)
	if got := w.series(2)["dynamo_hash_trees_total{source=loaded}"]; got == 0 {
		w.t.Error("after a stop in order no hash tree was loaded")
	}
	w.grows(1, "dynamo_antientropy_syncs_failed_total{}", func() {
		w.lose(func(to string, m core.Message) bool {
			_, compare := m.(*core.TreeCompare)
			return compare && to == "n4"
		})
		w.pass(time.Minute, time.Second)
		w.lose(nil)
	})
	w.healed()
}

// growth: a node joins, and cannot have everything at once.
func (w *watched) growth() {
	w.grows(1, "dynamo_layout_plans_total{result=made}", func() {
		w.lose(func(to string, m core.Message) bool {
			_, pull := m.(*core.Pull)
			return pull && to == "n4"
		})
		w.add("n1")
		w.look()
		w.pass(4*time.Second, 100*time.Millisecond)
		w.lose(nil)
	})
	for _, n := range w.nodes {
		await(w.t, n.Runtime, func(s core.ClusterStatus) bool {
			return len(s.Members) == len(w.nodes) && s.Layouts.Phase == core.PhaseDone && s.Leftovers == 0
		})
	}
}

// forgetting: keys are deleted, clocks are long, and rounds are spoilt.
func (w *watched) forgetting() {
	w.grows(3*keys, "dynamo_tombstones_reaped_total{}", func() {
		w.grows(1, "dynamo_clock_entries_pruned_total{}", func() {
			w.grows(keys, "dynamo_requests_total{op=delete,status=ok}", w.deletes)
			w.pass(3*time.Minute, 10*time.Second)
			if w.sum("dynamo_forgetting_keys_waiting{}") == 0 {
				w.t.Error("no key waits to be forgotten")
			}
			w.grows(1, "dynamo_forgetting_rounds_cancelled_total{}", w.spoils)
			w.healed()
			w.pass(id.MinTombstoneTTL+3*time.Minute, 10*time.Second)
		})
	})
}

func (w *watched) deletes() {
	long := &core.Request{
		Op: core.OpPut, Key: []byte("long"), Value: []byte("v"), Context: clockOf(20), HasContext: true, Options: core.Options{W: 3},
	}
	w.want(core.CodeOK, w.nodes[0].Do(w.t.Context(), long, usual))
	for i := range keys {
		w.want(core.CodeOK, w.do(i%4, core.OpDelete, key(i), core.Options{Overwrite: true, W: 3}, usual))
	}
}

// spoils makes void what was agreed on: a member cannot be asked, and then is
// another one.
func (w *watched) spoils() {
	w.network.Isolate("n5")
	for i := range keys {
		w.want(core.CodeOK, w.do(i%4, core.OpDelete, "late-"+key(i), core.Options{Overwrite: true}, usual))
	}
	w.pass(3*time.Minute, 10*time.Second)
	if w.sum("dynamo_forgetting_blocked{}") == 0 {
		w.t.Error("n5 cannot be asked, and nobody shows that it waits for it")
	}
	w.network.Heal()
	w.stop(4)
	w.start(4, "n1")
	w.pass(id.MinTombstoneTTL+time.Minute, 10*time.Second)
}

// clockOf returns a clock of so many actors that nobody has heard of.
func clockOf(n int) (c version.Clock) {
	for i := range n {
		c = c.With(version.Dot{Actor: version.Actor{Node: "x", Epoch: version.Epoch{Start: 1, Seq: uint64(i + 1)}}, Counter: 1})
	}
	return c
}

// limits: what clients are refused.
func (w *watched) limits() {
	w.grows(1, "dynamo_limits_hit_total{limit=siblings}", func() {
		w.grows(1, "dynamo_requests_total{op=put,status=too_many_siblings}", func() {
			for range id.MaxSiblings + 1 {
				w.do(0, core.OpPut, "many", core.Options{}, usual)
			}
		})
	})
	w.grows(1, "dynamo_limits_hit_total{limit=clock_entries}", func() {
		q := &core.Request{Op: core.OpPut, Key: []byte("clock"), Context: clockOf(id.MaxClockEntries), HasContext: true}
		w.want(core.CodeClockTooLong, w.owner("clock").Do(w.t.Context(), q, usual))
	})
}

// owner returns an owner of a key.
func (w *watched) owner(key string) *observed {
	for i, n := range w.nodes {
		l := n.Status().Layouts.Live[0]
		if l.Owns(name(i), l.Partition([]byte(key))) {
			return n
		}
	}
	w.t.Fatalf("nobody owns %s", key)
	return nil
}

// alarms: what should never happen.
func (w *watched) alarms() {
	const key = "alarm"
	n := w.owner(key)
	put := func(o core.Options, context version.Clock) core.Result {
		return n.Do(w.t.Context(), &core.Request{
			Op: core.OpPut, Key: []byte(key), Value: []byte("v"), Context: context, HasContext: !context.IsEmpty(), Options: o,
		}, usual)
	}
	w.want(core.CodeOK, put(core.Options{Overwrite: true}, version.Clock{}))
	held := n.Do(w.t.Context(), &core.Request{Op: core.OpInspect, Key: []byte(key)}, usual).Set
	dot := held.Versions[0].Dot
	w.grows(1, "dynamo_lost_data_total{}", func() {
		put(core.Options{}, version.DotClock(version.Dot{Actor: dot.Actor, Counter: dot.Counter + 5}))
	})
	w.grows(1, "dynamo_conflicts_total{}", func() {
		held = n.Do(w.t.Context(), &core.Request{Op: core.OpInspect, Key: []byte(key)}, usual).Set
		forged := version.Siblings{Clock: held.Clock, Versions: slices.Clone(held.Versions)}
		forged.Versions[0].Data = []byte("forged")
		w.deliver(n, "n1", &core.Apply{Key: []byte(key), Set: forged}, 0)
	})
}

// deliver hands a node a message that its transport has not seen.
func (w *watched) deliver(n *observed, from id.Node, m core.Message, late time.Duration) {
	st := n.Status()
	e := &core.Envelope{From: from, To: st.Self, Cluster: st.Cluster, Stamp: st.Layouts.Stamp(), Msg: m}
	e.Deadline = time.Hour - late // of the node's clock, which has not run for so long
	if a, ok := m.(*core.Apply); ok {
		e.Partition = st.Layouts.Live[0].Partition(a.Key)
	}
	n.Deliver(e)
	synctest.Wait()
}

// strangers: gossip that is left out.
func (w *watched) strangers() {
	n := w.nodes[0]
	st := n.Status()
	record := st.Members[1].Member // n2's
	for reason, state := range map[string]core.GossipState{
		"invalid": {Cluster: st.Cluster},
		"foreign": {Cluster: st.Cluster + 1, Members: []core.Member{record}},
		"taken": {Cluster: st.Cluster, Members: []core.Member{record, func() core.Member {
			m := st.Members[2].Member
			m.Instance, m.Start, m.Addr, m.Incarnation = 77, 77, "elsewhere", m.Incarnation+1
			return m
		}()}},
	} {
		w.grows(1, "dynamo_gossip_dropped_total{reason="+reason+"}", func() {
			w.deliver(n, "n2", &core.Gossip{State: state}, 0)
		})
	}
	w.grows(1, "dynamo_gossip_dropped_total{reason=expired}", func() {
		w.deliver(n, "n2", &core.Gossip{State: core.GossipState{Cluster: st.Cluster, Members: []core.Member{record}}}, time.Hour)
	})
	w.grows(1, "dynamo_transport_dropped_total{reason=invalid}", func() {
		if err := w.network.Inject("n1", []byte{0xff}); err == nil {
			w.t.Error("n1 takes what is no message")
		}
	})
}

// standstill: a node stops for a while, as if its disk or machine did.
func (w *watched) standstill() {
	w.grows(1, "dynamo_stalls_total{}", func() {
		w.nodes[0].engine.hold()
		<-time.After(3 * time.Minute)
		w.nodes[0].engine.release()
	})
	w.healed()
}

// ends: a node waits for its cluster, and one is stopped.
func (w *watched) ends() {
	w.add("nowhere")
	w.look()
	last := len(w.nodes) - 1
	w.grows(1, "dynamo_requests_total{op=get,status=not_ready}", func() {
		w.want(core.CodeNotReady, w.do(last, core.OpGet, "k", core.Options{}, usual))
	})
	if s := w.series(last); s["dynamo_serving{}"] != 0 || s["dynamo_layout_version{}"] != 0 {
		w.t.Errorf("a node that waits for its cluster shows serving %v, layout %v", s["dynamo_serving{}"], s["dynamo_layout_version{}"])
	}
	if got := w.series(0)["dynamo_serving{}"]; got != 1 {
		w.t.Errorf("a node that serves shows %v", got)
	}
	w.stop(3)
	w.grows(1, "dynamo_requests_total{op=get,status=stopped}", func() {
		w.want(core.CodeStopped, w.do(3, core.OpGet, "k", core.Options{}, usual))
	})
	w.pass(2*time.Second, time.Second) // others find nobody at its address
}

// elsewhere has the series that this cluster does not move, by why, or by the
// test that does.
func elsewhere() map[string]string {
	all := map[string]string{
		"dynamo_build_info":                         "it does not move",
		"dynamo_process_start_time_seconds":         "dynamo.TestMetricsOfTheProcess",
		"dynamo_process_memory_peak_bytes":          "dynamo.TestMetricsOfTheProcess",
		"dynamo_queue_limit":                        "it does not move",
		"dynamo_hints_limit_bytes":                  "it does not move",
		"dynamo_hash_trees_total{source=wrong}":     "never, but for a bug or a broken disk",
		"dynamo_layout_plans_total{result=failed}":  "never, but for a bug: what members may say is checked before",
		"dynamo_queue_depth":                        "TestTurnedAwayRequestsAreCounted",
		"dynamo_queue_depth_max":                    "TestTurnedAwayRequestsAreCounted",
		"dynamo_limits_hit_total{limit=outbox}":     "transporttest, as refused",
		"dynamo_limits_hit_total{limit=hint_bytes}": "replica.TestHintsAreLimitedInBytesAndNeverEvicted",
		"dynamo_hints_refused_total":                "replica.TestHintsAreLimitedInBytesAndNeverEvicted",
		"dynamo_hints_expired_total":                "replica.TestMarkersExpireAndLeaveTheirPartitionDirty",
		"dynamo_hints_lost_total":                   "replica.TestALostHintIsNone",
		"dynamo_storage_":                           "pebble.TestStats, pebble.TestStallForMemory, lss.TestDamagedValue, lss.TestScrubFindsDamageEverywhere, dynamo.TestMetricsOfADisk",
		"dynamo_serving":                            "ends compares nodes",
		"dynamo_under_replicated":                   "dynamo.TestMetricsOfUnderReplication",
		"dynamo_leftover_partitions":                "handoff.TestLeftoversArePushedUntilAcknowledged; here they are gone at once",
		"dynamo_background_throttled":               "node.TestSlowRequestsTakeSlotsAway",
		"dynamo_background_slots":                   "node.TestSlowRequestsTakeSlotsAway",
		"dynamo_background_slots_max":               "it does not move",
		"dynamo_background_bytes_per_second":        "node.TestSlowRequestsTakeSlotsAway",
		"dynamo_background_slowdowns_total":         "node.TestSlowRequestsTakeSlotsAway",
		"dynamo_background_slots_held":              "admission.TestSlotsAreTakenInTurns",
		"dynamo_background_slots_wanted":            "admission.TestSlotIsPaidFor",
		"dynamo_background_waits_total":             "admission.TestFewerSlotsAreGivenBack",
		"dynamo_foreground_threshold_seconds":       "it does not move",
		"dynamo_expired_total":                      "TestRequestsOfClientsThatHaveGoneAreNotBegun, node.TestExpiredMessagesAreDropped",
		"dynamo_hash_trees_building":                "replica.TestTreesAreSavedAndTakenOver; here they are built at once",
	}
	for _, limit := range []string{"client_queue", "peer_queue", "requests", "stragglers", "forwards", "set_bytes", "members", "under_way", "storage"} {
		all["dynamo_limits_hit_total{limit="+limit+"}"] = "the tests of the package that has the limit"
	}
	for _, reason := range []string{"refused", "expired", "unknown"} {
		all["dynamo_transport_dropped_total{reason="+reason+"}"] = "transporttest"
	}
	for _, op := range []string{"get", "put", "delete"} {
		for _, code := range []string{
			"ok", "not_found", "quorum", "timeout", "overloaded", "too_many_siblings", "set_too_large", "clock_too_long", "storage_full", "not_ready", "stopped",
		} {
			all["dynamo_requests_total{op="+op+",status="+code+"}"] = "each operation and each status moves somewhere; not each pair"
		}
	}
	return all
}

// everythingMoved fails for each series that nothing has moved.
func (w *watched) everythingMoved() {
	w.t.Helper()
	excused := elsewhere()
	known := w.series(0)
	for series := range known {
		family, _, _ := strings.Cut(series, "{")
		excuse := excused[series] + excused[family]
		if strings.HasPrefix(series, "dynamo_storage_") {
			excuse = excused["dynamo_storage_"]
		}
		if !w.moved[anyMember(series)] && excuse == "" {
			w.t.Errorf("%s has not moved", series)
		}
	}
	for _, op := range []string{"get", "put", "delete"} {
		if !w.moved["dynamo_requests_total{op="+op+",status=ok}"] {
			w.t.Errorf("no %s was counted", op)
		}
	}
}

// TestEveryMetricMoves has a cluster go through all that can befall it, while
// its metrics are watched: each moves when what it is about happens.
func TestEveryMetricMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t, 4)
		for _, befalls := range []func(){
			w.healthy, w.silence, w.absence, w.behind, w.disks, w.limits, w.alarms, w.strangers, w.standstill,
			w.growth, w.forgetting, w.ends,
		} {
			befalls()
		}
		w.everythingMoved()
	})
}
