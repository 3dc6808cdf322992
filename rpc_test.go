package dynamo

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dynamo-kv/dynamo/internal/transport/httpjson"
)

// rpc asks nodes by the peer protocol, as people do.
type rpc struct {
	t      *testing.T
	client *httpjson.Client
}

func newRPC(t *testing.T) *rpc {
	t.Helper()
	r := &rpc{t: t, client: httpjson.NewClient(nil)}
	t.Cleanup(r.client.Close)
	return r
}

func (r *rpc) get(n *Node, key string) httpjson.GetReply {
	r.t.Helper()
	got, err := r.client.Get(r.t.Context(), n.Addr(), &httpjson.GetRequest{Key: httpjson.KeyOf([]byte(key))})
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

func (r *rpc) put(n *Node, key string, v httpjson.Version) error {
	r.t.Helper()
	got, err := r.client.Put(r.t.Context(), n.Addr(), &httpjson.PutRequest{
		Key: httpjson.KeyOf([]byte(key)), Versions: httpjson.Versions{Value: &v},
	})
	if got.Success != (err == nil) || (got.Error == "") != (err == nil) {
		r.t.Errorf("the put of %q is answered with %+v, %v", key, got, err)
	}
	return err
}

func (r *rpc) hint(n *Node, original, key string, v httpjson.Version) {
	r.t.Helper()
	got, err := r.client.Hint(r.t.Context(), n.Addr(), &httpjson.HintRequest{
		OriginalNode: original, Key: httpjson.KeyOf([]byte(key)), Versions: httpjson.Versions{Value: &v},
	})
	if err != nil || !got.Success {
		r.t.Fatalf("the hint of %q for %s is answered with %+v, %v", key, original, got, err)
	}
}

func (r *rpc) sync(n *Node, start, end, root string) httpjson.SyncReply {
	r.t.Helper()
	got, err := r.client.Sync(r.t.Context(), n.Addr(), &httpjson.SyncRequest{
		KeyRange: httpjson.KeyRange{Start: start, End: end}, TreeRoot: root,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

func byHand(data string, seen map[string]uint64) httpjson.Version {
	return httpjson.Version{Data: []byte(data), VectorClock: seen, Timestamp: httpjson.Time{Time: time.Date(2026, 11, 26, 10, 0, 0, 1, time.UTC)}}
}

// await polls until ok.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("still waiting for %s", what)
		}
	}
}

func TestRPCPut(t *testing.T) {
	n, r := startNode(t, "n1", memoryConfig(1)), newRPC(t)
	const key = "\xff not a text"
	if err := r.put(n, key, byHand("milk", nil)); err != nil {
		t.Fatal(err)
	}
	first := r.get(n, key)
	if len(first.Values) != 1 || string(first.Values[0].Data) != "milk" || first.Values[0].Dot == nil ||
		!first.Values[0].Timestamp.Equal(time.Date(2026, 11, 26, 10, 0, 0, 1, time.UTC)) {
		t.Fatalf("the node shows %+v", first)
	}
	wantValues(t, get(t, n, key), "milk")
	for range 3 {
		if err := r.put(n, key, byHand("milk", nil)); err != nil {
			t.Fatal(err)
		}
		if err := r.put(n, key, first.Values[0]); err != nil { // as it is shown
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(first, r.get(n, key)); diff != "" {
		t.Errorf("a put that is repeated changes (-before +after):\n%s", diff)
	}
	if err := r.put(n, key, byHand("bread", nil)); err != nil {
		t.Fatal(err)
	}
	wantValues(t, get(t, n, key), "milk", "bread")
	other := first.Values[0]
	other.Data = []byte("other bytes")
	var refused *httpjson.StatusError
	if err := r.put(n, key, other); !errors.As(err, &refused) || refused.Status != http.StatusConflict {
		t.Errorf("a dot with other bytes: %v", err)
	}
	if err := r.put(n, key, byHand("both", maps.Collect(maps.All(r.get(n, key).Clock.Vector)))); err != nil {
		t.Fatal(err)
	}
	wantValues(t, get(t, n, key), "both")
	put(t, n, key, "by a client", get(t, n, key).Context)
	wantValues(t, get(t, n, key), "by a client")
}

// Blind writes leave siblings whose dots have no gap to show: one of them, put
// back at another node, must not take the others with it.
func TestRPCPutOfOneSibling(t *testing.T) {
	c := memoryConfig(1)
	n, r := startNode(t, "n1", c), newRPC(t)
	for i := range 4 {
		put(t, n, "k", fmt.Sprint(i), nil)
	}
	whole := r.get(n, "k")
	for _, v := range whole.Values {
		if err := r.put(n, "k", v); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(whole, r.get(n, "k")); diff != "" {
		t.Errorf("putting back what was shown changes (-before +after):\n%s", diff)
	}
	empty := startNode(t, "n2", c)
	for i, v := range whole.Values {
		if err := r.put(empty, "k", v); err != nil {
			t.Fatal(err)
		}
		if got := r.get(empty, "k"); len(got.Values) != i+1 {
			t.Errorf("after %d puts of siblings %d are there", i+1, len(got.Values))
		}
	}
	q := &httpjson.PutRequest{
		Key: httpjson.KeyOf([]byte("whole")), Versions: httpjson.Versions{Versions: whole.Values, Clock: &whole.Clock},
	}
	if _, err := r.client.Put(t.Context(), empty.Addr(), q); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(whole, r.get(empty, "whole")); diff != "" {
		t.Errorf("a whole set that is put elsewhere (-there +here):\n%s", diff)
	}
}

// A put at a node that does not own the key reaches those that do, and a hint
// the node that it is for.
func TestRPCPutsAndHintsReachTheOwners(t *testing.T) {
	c := memoryConfig(2)
	nodes, r := startCluster(t, 4, c), newRPC(t)
	holders := func(key string) (ids []string) {
		for _, n := range nodes {
			if len(r.get(n, key).Values) > 0 {
				ids = append(ids, n.ID())
			}
		}
		return ids
	}
	for i := range 20 {
		key := fmt.Sprint("put-", i)
		if err := r.put(nodes[0], key, byHand("v", nil)); err != nil {
			t.Fatal(err)
		}
		if hinted := fmt.Sprint("hint-", i); i%4 > 0 {
			r.hint(nodes[0], nodes[i%4].ID(), hinted, byHand("v", nil))
		}
	}
	for i := range 20 {
		await(t, "two holders of put-"+fmt.Sprint(i), func() bool {
			ids := holders(fmt.Sprint("put-", i))
			return len(ids) == 2 || len(ids) == 1 && ids[0] == "n1" // its other owner hears by anti-entropy
		})
	}
	await(t, "all hints to be delivered", func() bool { return len(nodes[0].Status().Hints.Pending) == 0 })
	for i := range 20 {
		if ids := holders(fmt.Sprint("hint-", i)); i%4 > 0 && len(ids) == 0 {
			t.Errorf("nobody holds hint-%d", i)
		}
	}
	r.hint(nodes[2], "n3", "own", byHand("v", nil))
	if got := r.get(nodes[2], "own"); len(got.Values) != 1 {
		t.Errorf("a hint for oneself is no put: %+v", got)
	}
}

func TestRPCSync(t *testing.T) {
	c := memoryConfig(2)
	c.AntiEntropyInterval = 0
	nodes, r := startCluster(t, 2, c), newRPC(t)
	a, b := nodes[0], nodes[1]
	const zeros = "00000000000000000000000000000000"
	if got := r.sync(a, "", "", zeros); got.TreeRoot != zeros || len(got.Differences) != 0 {
		t.Fatalf("an empty node: %+v", got)
	}
	for i := range 2500 {
		put(t, a, fmt.Sprint("key-", i), "v", nil, WithW(2))
	}
	whole := r.sync(a, "", "", "")
	if got := r.sync(b, "0000000000000000", "ffffffffffffffff", whole.TreeRoot); got.TreeRoot != whole.TreeRoot || len(got.Differences) != 0 {
		t.Fatalf("equal nodes: %+v and %+v", whole, got)
	}
	if err := r.put(b, "odd", byHand("v", nil)); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for start, parts := "", 1; ; parts++ {
		got := r.sync(b, start, "", whole.TreeRoot)
		for _, key := range got.Differences {
			seen[key] = true
		}
		if start = got.Next; start == "" {
			if len(seen) != 2501 || !seen["odd"] || parts < 3 {
				t.Errorf("%d keys in %d answers", len(seen), parts)
			}
			break
		}
	}
	if differ := narrow(r, a, b, 0, ^uint64(0)); !slices.Contains(differ, "odd") || len(differ) > 2 {
		t.Errorf("halving the range that differs ends at %q", differ)
	}
}

// narrow returns the keys of the smallest range that it finds to differ.
func narrow(r *rpc, a, b *Node, first, last uint64) []string {
	digits := func(n uint64) string { return fmt.Sprintf("%016x", n) }
	for last-first > 1<<40 {
		middle := first + (last-first)/2
		root := r.sync(a, digits(first), digits(middle), "").TreeRoot
		if r.sync(b, digits(first), digits(middle), root).TreeRoot != root {
			last = middle
		} else {
			first = middle + 1
		}
	}
	return r.sync(b, digits(first), digits(last), strings.Repeat("f", 32)).Differences
}

func TestRPCGossip(t *testing.T) {
	nodes, r := startCluster(t, 2, memoryConfig(2)), newRPC(t)
	ask := func(q *httpjson.GossipRequest) httpjson.GossipReply {
		t.Helper()
		got, err := r.client.Gossip(t.Context(), nodes[0].Addr(), q)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	got := ask(&httpjson.GossipRequest{FromNode: "a-stranger"})
	if len(got.Members) != 2 || got.Members[1].Address != nodes[1].Addr() || len(got.Members[0].Tokens) != 16 || got.Merged {
		t.Fatalf("a stranger hears %+v", got)
	}
	third := got.Members[1]
	record := *third.Record
	third.NodeID, third.Address, third.Record = "n3", "127.0.0.1:1", &record
	record.State, record.Incarnation = "left", 1 // so that nobody counts on it
	if merged := ask(&httpjson.GossipRequest{FromNode: "n3", Cluster: got.Cluster, Members: []httpjson.Member{third}}); !merged.Merged {
		t.Errorf("a whole record is not taken in: %+v", merged)
	}
	await(t, "the other node to hear of it", func() bool {
		members := nodes[1].Status().Members
		return len(members) == 3 && members[2].ID == "n3" && members[2].State == "left"
	})
	_, err := r.client.Gossip(t.Context(), nodes[0].Addr(), &httpjson.GossipRequest{FromNode: "n3", Cluster: "0000000000000007"})
	var refused *httpjson.StatusError
	if !errors.As(err, &refused) || refused.Status != http.StatusConflict {
		t.Errorf("gossip of another cluster: %v", err)
	}
}
