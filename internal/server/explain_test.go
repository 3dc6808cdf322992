package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// holder is a backend that holds a copy and a hint of every key.
type holder struct {
	fake
	copy version.Siblings
	hint *core.HintItem
	code core.Code // of every answer, unless 0
}

func (h *holder) Do(_ context.Context, q *core.Request, _ time.Duration) core.Result {
	r := core.Result{Code: core.CodeOK}
	if q.Op == core.OpInspectHint {
		r.Hint = h.hint
	} else {
		r.Set = h.copy
	}
	if h.code != 0 {
		r.Code = h.code
	}
	return r
}

// explainCluster is n1 to n4, of which each owns everything but the last, and
// n3 does not answer. The caller asks n1.
func explainCluster(t *testing.T, n1, n2, n4 *holder) *Server {
	t.Helper()
	serve := func(h *holder) string {
		s := httptest.NewServer(explainServer(h))
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	var config net.ListenConfig
	silent, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := silent.Close(); err != nil {
		t.Fatal(err)
	}
	var members []ring.Member
	for _, n := range []id.Node{"n1", "n2", "n3", "n4"} {
		members = append(members, ring.Member{ID: n, Weight: 1})
	}
	l, err := ring.Form(8, 3, members)
	if err != nil {
		t.Fatal(err)
	}
	status := core.ClusterStatus{Self: "n1", Layouts: core.LayoutState{Live: []*ring.Layout{l}, Phase: core.PhaseDone}}
	n1.status, n2.status, n4.status = status, status, status
	n1.status.Members = []core.MemberStatus{
		{Member: core.Member{ID: "n2", Addr: serve(n2)}, Status: core.Alive},
		{Member: core.Member{ID: "n3", Addr: silent.Addr().String()}, Status: core.Dead},
		{Member: core.Member{ID: "n4", Addr: serve(n4)}, Status: core.Alive},
	}
	return explainServer(n1)
}

func explainServer(h *holder) *Server {
	return New(Options{Backend: h, Limits: testLimits, Peers: http.DefaultClient, Logger: slog.New(slog.DiscardHandler)})
}

// keyWithoutOwner returns a key that n does not own.
func keyWithoutOwner(t *testing.T, l *ring.Layout, n id.Node) string {
	t.Helper()
	for c := byte('a'); c <= 'z'; c++ {
		if key := "a/b+%" + string(rune(c)); !l.Owns(n, l.Partition([]byte(key))) {
			return key
		}
	}
	t.Fatalf("%s owns every key", n)
	return ""
}

func explainIt(t *testing.T, s *Server, target string) (int, explainJSON) {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody))
	var got explainJSON
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return w.Code, got
}

func TestExplainAsksEveryNode(t *testing.T) {
	here, there := siblings("v1", tombstone), siblings("v1")
	kept := &core.HintItem{
		Owners: []core.HintOwner{{Node: "n1", Since: time.Second.Nanoseconds()}, {Node: "n3", Data: true}}, Set: siblings("kept"),
	}
	n1 := &holder{copy: here}
	s := explainCluster(t, n1, &holder{copy: there}, &holder{hint: kept})
	l := n1.status.Layouts.Live[0]
	key := keyWithoutOwner(t, l, "n4")
	status, got := explainIt(t, s, "/v1/explain/a%2Fb+%25"+key[len(key)-1:])
	if status != http.StatusOK || got.Key != key || got.Node != "n1" || got.Equal || got.Phase != "stable" {
		t.Fatalf("status %d: %+v", status, got)
	}
	if p := l.Partition([]byte(key)); got.Partition != int(p) || len(got.Layouts) != 1 || len(got.Layouts[0].Owners) != 3 {
		t.Errorf("partition %d of %+v; want %d", got.Partition, got.Layouts, p)
	}
	held := map[string]heldJSON{}
	for i, h := range got.Nodes {
		held[h.ID] = h
		if want := l.AppendPreference(nil, l.Partition([]byte(key)), -1)[i]; h.ID != string(want) {
			t.Errorf("place %d is %s; want %s", i, h.ID, want)
		}
	}
	if c := held["n1"].Held.Copy; len(c.Siblings) != 2 || !c.Siblings[1].Tombstone || c.Siblings[0].Bytes != 2 ||
		c.Siblings[1].Dot != dotOf(here.Versions[1].Dot) || c.Clock[here.Versions[0].Dot.Actor.String()] != 2 {
		t.Errorf("the own copy: %+v", c)
	}
	if h := held["n2"]; h.Role != "owner" || h.Held.Layout != l.Name().String() || len(h.Held.Copy.Siblings) != 1 || h.Held.Copy.Digest != setOf(there).Digest {
		t.Errorf("the copy of n2: %+v", h)
	}
	if h := held["n3"]; h.Held != nil || !strings.Contains(h.Error, "refused") || h.Status != "dead" {
		t.Errorf("n3, which is away: %+v", h)
	}
	if h := held["n4"]; h.Role != "fallback" || len(h.Held.Copy.Siblings) != 0 || h.Held.Hint == nil || len(h.Held.Hint.Kept.Siblings) != 1 ||
		h.Held.Hint.Owners[0].Data || h.Held.Hint.Owners[0].Since.Unix() != 1 || !h.Held.Hint.Owners[1].Data || h.Held.Hint.Owners[1].ID != "n3" {
		t.Errorf("what n4 keeps: %+v", h)
	}
}

func TestExplainSaysWhenOwnersAreEqual(t *testing.T) {
	set := siblings("v")
	nodes := []heldJSON{
		{Role: "owner", Held: &copyJSON{Copy: setOf(set)}},
		{Role: "owner", Held: &copyJSON{Copy: setOf(set)}},
		{Role: "fallback", Held: &copyJSON{Copy: setOf(siblings("w"))}},
	}
	if !equalOwners(nodes) {
		t.Error("equal sets are not equal")
	}
	nodes[1].Held = &copyJSON{Copy: setOf(siblings("x"))}
	if equalOwners(nodes) {
		t.Error("other bytes under one dot are equal")
	}
	nodes[1] = heldJSON{Role: "owner", Error: "away"}
	if equalOwners(nodes) {
		t.Error("an owner that has not answered is equal")
	}
}

func TestExplainInATransition(t *testing.T) {
	b := &holder{copy: siblings("v")}
	b.status = core.ClusterStatus{Self: "n1", Layouts: core.LayoutState{Live: twoLayouts(t), Phase: core.PhaseCopy}}
	moving := ""
	for c := 'a'; moving == ""; c++ {
		if l := b.status.Layouts.Live[1]; l.Owns("n2", l.Partition([]byte{byte(c)})) {
			moving = string(c)
		}
	}
	status, got := explainIt(t, explainServer(b), "/v1/explain/"+moving)
	if status != http.StatusOK || len(got.Layouts) != 2 || got.Phase != "copying" || len(got.Nodes) != 2 ||
		got.Nodes[0].Role != "owner" || got.Nodes[1].ID != "n2" || got.Nodes[1].Role != "incoming" {
		t.Fatalf("status %d: %+v", status, got)
	}
	if why := got.Nodes[1].Error; why != "its address is not known here" { // there is no member record
		t.Errorf("n2 has not answered, since %q", why)
	}
}

func TestExplainOfOneNode(t *testing.T) {
	b := &holder{copy: siblings("v")}
	b.status = core.ClusterStatus{Self: "n1", Layouts: core.LayoutState{Live: twoLayouts(t)[:1], Phase: core.PhaseDone}}
	w := httptest.NewRecorder()
	explainServer(b).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/explain/k?own=true&timeout=1s", http.NoBody))
	var got copyJSON
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got.Copy.Siblings) != 1 || got.Hint != nil || got.Phase != "stable" {
		t.Errorf("%v: %s", err, w.Body)
	}
	b.code = core.CodeOverloaded
	w = httptest.NewRecorder()
	explainServer(b).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/explain/k?own=true", http.NoBody))
	wantStatus(t, w, http.StatusServiceUnavailable)
}

func TestExplainsAreBounded(t *testing.T) {
	b := &holder{copy: siblings("v")}
	b.status = core.ClusterStatus{Self: "n1", Layouts: core.LayoutState{Live: twoLayouts(t)[:1], Phase: core.PhaseDone}}
	s := explainServer(b)
	for n := range maxExplains {
		if !s.explains.TryAcquire(1) {
			t.Fatalf("no room for explanation %d of %d", n+1, maxExplains)
		}
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/explain/k", http.NoBody))
	wantStatus(t, w, http.StatusServiceUnavailable)
	if !strings.Contains(w.Body.String(), `"code":"overloaded"`) || w.Header().Get("Retry-After") == "" {
		t.Errorf("answered %v %s", w.Header(), w.Body)
	}
	s.explains.Release(1)
	for range 2 { // each gives its place back
		if status, got := explainIt(t, s, "/v1/explain/k"); status != http.StatusOK || !got.Equal {
			t.Errorf("status %d: %+v", status, got)
		}
	}
}

func TestExplainRefuses(t *testing.T) {
	for target, want := range map[string]int{
		"GET /v1/explain/":                http.StatusBadRequest,
		"GET /v1/explain/k?own=perhaps":   http.StatusBadRequest,
		"GET /v1/explain/k?timeout=1h":    http.StatusBadRequest,
		"GET /v1/explain/k?r=1":           http.StatusBadRequest,
		"GET /v1/explain/k?own=&own=true": http.StatusBadRequest,
		"PUT /v1/explain/k":               http.StatusMethodNotAllowed,
		"GET /v1/explain/k":               http.StatusServiceUnavailable, // no layout yet
	} {
		method, path, _ := strings.Cut(target, " ")
		if w := call(t, &fake{}, method, path, ""); w.Code != want {
			t.Errorf("%s: status %d, want %d: %s", target, w.Code, want, w.Body)
		}
	}
}
