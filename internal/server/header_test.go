package server

import (
	"net/http"
	"strings"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// Headers are set without a look at their names, so these must be as net/http
// writes them.
func TestHeaderNames(t *testing.T) {
	for _, name := range []string{
		HeaderRequestID, HeaderContext, HeaderTimestamp, HeaderAcknowledged, HeaderRequired, HeaderQuorum,
	} {
		if want := http.CanonicalHeaderKey(name); name != want {
			t.Errorf("a header is called %s; it must be %s", name, want)
		}
	}
}

// An answer's headers share memory, and still none runs into the next, however
// long they are.
func TestHeadersShareMemory(t *testing.T) {
	var clock version.Clock
	for i := range 40 { // a token that is longer than most
		clock = clock.Join(version.DotClock(version.Dot{Actor: actorOf(id.Node("n-" + strings.Repeat("x", i+1))), Counter: uint64(i + 1)}))
	}
	set := siblings("v")
	set = version.Siblings{Clock: set.Clock.Join(clock), Versions: set.Versions}
	got := call(t, &fake{result: found(set)}, http.MethodGet, "/v1/kv/k", "").Header()
	want := map[string]string{
		HeaderContext: token("k", set.Clock), HeaderAcknowledged: "2", HeaderRequired: "2",
		HeaderQuorum: "replicas=2; fallbacks=0; required=2", HeaderTimestamp: "2026-11-24T10:00:00.005Z",
	}
	for name, value := range want {
		if got.Get(name) != value {
			t.Errorf("%s is %q, want %q", name, got.Get(name), value)
		}
		got.Add(name, "more")
	}
	for name, value := range want {
		if values := got.Values(name); len(values) != 2 || values[0] != value || values[1] != "more" {
			t.Errorf("%s has the values %q after one was added", name, values)
		}
	}
}

// The bound of an answer's headers is that of the fullest one.
func TestFullestHead(t *testing.T) {
	set := siblings("v")
	r := core.Result{Code: core.CodeOK, Set: set, Context: set.Clock, Acknowledged: 2, Required: 2}
	var h head
	h.result(&core.Request{Op: core.OpGet, Key: []byte("k")}, &r)
	h.timestamp(0)
	if h.count != maxLines {
		t.Errorf("the fullest answer has %d of %d headers", h.count, maxLines)
	}
}
