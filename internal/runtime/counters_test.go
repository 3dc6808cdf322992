package runtime_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/histogram"
	"github.com/dynamo-kv/dynamo/internal/runtime"
)

// held is an engine whose reads wait for a release.
type held struct {
	runtime.Engine
	reads   chan struct{} // has one when a read has begun
	release chan struct{} // closed when they may go on
}

func (h held) Get(key []byte) ([]byte, error) {
	if key[0] == core.DataKey([]byte("k"))[0] {
		select {
		case h.reads <- struct{}{}:
		default:
		}
		<-h.release
	}
	return h.Engine.Get(key)
}

// alone returns a node on such an engine, with these buckets for durations.
func (h held) alone(t *testing.T, buckets []time.Duration) *cluster {
	t.Helper()
	c := newCluster(t, 0, nil)
	c.buckets = buckets
	c.add(0, func(e runtime.Engine) runtime.Engine {
		h.Engine = e
		return h
	})
	await(t, c.nodes[0], func(s core.ClusterStatus) bool { return s.Serving })
	return c
}

// A loop that its disk holds up does not hold up whoever asks for counters:
// what the others count is there, and of that one what it has told before.
func TestCountersDoNotWaitForADisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := held{reads: make(chan struct{}, 1), release: make(chan struct{})}
		c := h.alone(t, nil)
		n := c.nodes[0]
		n.Counters()
		go c.put(0, "k", "v")
		<-h.reads
		<-time.After(10 * time.Second) // some rounds of gossip
		began := time.Now()
		rounds := n.Counters().Gossip.Rounds
		if took := time.Since(began); took > time.Second || rounds < 5 {
			t.Errorf("it took %v, and there were %d rounds", took, rounds)
		}
		n.Counters() // asks nothing again of the loop that has not answered
		close(h.release)
		synctest.Wait()
		if got := n.Counters().Requests[core.OpPut][core.CodeOK]; got != 1 {
			t.Errorf("%d puts are counted in the end; want the one", got)
		}
	})
}

// What the queues turn away is counted: as requests, and by the limit's name.
func TestTurnedAwayRequestsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := held{reads: make(chan struct{}, 1), release: make(chan struct{})}
		c := h.alone(t, nil)
		n := c.nodes[0]
		limit := n.Queued().ClientsLimit
		go c.put(0, "k", "v")
		<-h.reads
		for range limit - 1 { // beside the one that has begun
			go c.put(0, "k", "v")
		}
		synctest.Wait()
		if got := n.Queued(); got.Clients != limit || got.MostClients != limit || got.Peers != 0 {
			t.Errorf("queued: %+v; want %d requests in one loop", got, limit)
		}
		const more = 3
		for range more - 1 {
			if got := c.put(0, "k", "v"); got.Code != core.CodeOverloaded {
				t.Errorf("one more: %v", got.Code)
			}
		}
		if !n.TurnsAway(core.OpPut, []byte("k")) {
			t.Error("one more would be taken")
		}
		got := n.Counters()
		if got.Limits[core.LimitClients] != more || got.Requests[core.OpPut][core.CodeOverloaded] != more {
			t.Errorf("the limit was hit %d times, %d puts were overloaded; want %d",
				got.Limits[core.LimitClients], got.Requests[core.OpPut][core.CodeOverloaded], more)
		}
		st := n.Status()
		at := st.Layouts.Live[0].Partition([]byte("k"))
		for range n.Queued().PeersLimit + more {
			n.Deliver(&core.Envelope{
				From: "n9", To: "n1", Cluster: st.Cluster, Stamp: st.Layouts.Stamp(), Partition: at, Deadline: time.Hour,
				Msg: &core.Read{Key: []byte("k")},
			})
		}
		if got := n.Queued(); got.Peers != got.PeersLimit || got.MostPeers != got.PeersLimit {
			t.Errorf("queued: %+v", got)
		}
		if got := n.Counters().Limits[core.LimitPeers]; got != more {
			t.Errorf("the limit of peers was hit %d times; want %d", got, more)
		}
		close(h.release)
		synctest.Wait()
		if got := n.Queued(); got.Clients != 0 || got.Peers != 0 {
			t.Errorf("queued at the end: %+v", got)
		}
	})
}

// Durations are counted where there are buckets for them; they begin when the
// request arrives, so that they show the time in a queue too.
func TestDurations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := held{reads: make(chan struct{}, 1), release: make(chan struct{})}
		c := h.alone(t, []time.Duration{time.Millisecond, time.Second, time.Minute})
		n := c.nodes[0]
		go c.get(0, "k")
		<-h.reads
		go c.get(0, "k") // waits in the queue
		<-time.After(1500 * time.Millisecond)
		close(h.release)
		synctest.Wait()
		counters := n.Counters()
		gets := &counters.Durations[core.OpGet]
		if gets.Count() != 2 || gets.UpTo(1) != 0 || gets.UpTo(2) != 2 || gets.Sum() != 3*time.Second {
			t.Errorf("%d gets took %v together; %d up to a second", gets.Count(), gets.Sum(), gets.UpTo(1))
		}
		if d := &counters.Drains; d.Count() == 0 || d.Sum() != 1500*time.Millisecond {
			t.Errorf("%d drains took %v together; want one to take 1.5 s", d.Count(), d.Sum())
		}
		without := h.alone(t, nil)
		without.get(0, "k")
		counters = without.nodes[0].Counters()
		for _, d := range []*histogram.Histogram{&counters.Durations[core.OpGet], &counters.Drains, &counters.Gossip.Durations} {
			if d.Count() != 0 {
				t.Errorf("without buckets there are %d durations", d.Count())
			}
		}
	})
}
