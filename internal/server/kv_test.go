package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/version"
)

func TestGetAnswers(t *testing.T) {
	one := siblings("v1")
	two := siblings("v1", "v2")
	twins := siblings("same", "same")
	besideTombstone := siblings("v1", tombstone)
	deleted := siblings(tombstone)
	tests := []struct {
		name    string
		result  core.Result
		status  int
		body    string
		context version.Clock
	}{
		{"one value", found(one), 200, "v1", one.Clock},
		{"an empty value", found(siblings("")), 200, "", siblings("").Clock},
		{"equal bytes are shown once", found(twins), 200, "same", twins.Clock},
		{"tombstones are not listed", found(besideTombstone), 200, "v1", besideTombstone.Clock},
		{"siblings", found(two), 300, `{"context":"` + token("k", two.Clock) + `","siblings":[` +
			`{"data":"djE=","timestamp":"2026-11-24T10:00:00.005Z"},` +
			`{"data":"djI=","timestamp":"2026-11-24T10:00:01.005Z"}]}` + "\n", two.Clock},
		{
			"never written",
			core.Result{Code: core.CodeNotFound, Acknowledged: 2, Required: 2},
			404,
			`{"error":{"code":"not_found","message":"the key is not found","request_id":"r1"}}` + "\n",
			version.Clock{},
		},
		{
			"deleted",
			core.Result{Code: core.CodeNotFound, Set: deleted, Context: deleted.Clock, Acknowledged: 2, Required: 2},
			404,
			`{"error":{"code":"not_found","message":"the key is not found","request_id":"r1"}}` + "\n", deleted.Clock,
		},
		{
			"deleted, though the backend calls it ok", found(deleted), 404,
			`{"error":{"code":"not_found","message":"the key is not found","request_id":"r1"}}` + "\n", deleted.Clock,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := call(t, &fake{result: test.result}, "GET", "/v1/kv/k", "")
			wantStatus(t, w, test.status)
			if diff := cmp.Diff(test.body, w.Body.String()); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			want := ""
			if !test.context.IsEmpty() {
				want = token("k", test.context)
			}
			if got := w.Header().Get("Dynamo-Context"); got != want {
				t.Errorf("Dynamo-Context is %q, want %q", got, want)
			}
			if a, r := w.Header().Get("Dynamo-Acknowledged"), w.Header().Get("Dynamo-Required"); a != "2" || r != "2" {
				t.Errorf("%s of %s replicas, want 2 of 2", a, r)
			}
		})
	}
}

func token(key string, c version.Clock) string { return version.NewContext([]byte(key), c).Token() }

func TestGetHeaders(t *testing.T) {
	w := call(t, &fake{result: found(siblings("v1"))}, "GET", "/v1/kv/k", "")
	want := map[string]string{
		"Content-Type":           "application/octet-stream",
		"X-Content-Type-Options": "nosniff",
		"Dynamo-Timestamp":       "2026-11-24T10:00:00.005Z",
	}
	for name, value := range want {
		if got := w.Header().Get(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
}

func TestWriteAnswers(t *testing.T) {
	clock := version.DotClock(dot(1))
	ok := core.Result{Code: core.CodeOK, Outcome: core.Written, Context: clock, Acknowledged: 3, Fallbacks: 1, Required: 2}
	for _, method := range []string{"PUT", "DELETE"} {
		w := call(t, &fake{result: ok}, method, "/v1/kv/k?overwrite=true", "")
		wantStatus(t, w, http.StatusNoContent)
		if w.Body.Len() != 0 {
			t.Errorf("%s: a 204 has the body %q", method, w.Body)
		}
		if got := w.Header().Get("Dynamo-Context"); got != token("k", clock) {
			t.Errorf("%s: Dynamo-Context is %q", method, got)
		}
		if got := w.Header().Get("Dynamo-Acknowledged"); got != "3" {
			t.Errorf("%s: Dynamo-Acknowledged is %q", method, got)
		}
		if got := w.Header().Get("Dynamo-Quorum"); got != "replicas=3; hinted=1; required=2" {
			t.Errorf("%s: Dynamo-Quorum is %q", method, got)
		}
	}
}

func TestRequestsAsTheBackendSeesThem(t *testing.T) {
	seen := version.DotClock(dot(4))
	writeID, err := version.ParseWriteID("000102030405060708090a0b0c0d0e0f")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name           string
		method, target string
		body           string
		headers        []string
		want           core.Request
		timeout        time.Duration
	}{
		{
			"a blind put", "PUT", "/v1/kv/k", "v", nil,
			core.Request{Op: core.OpPut, Key: []byte("k"), Value: []byte("v")},
			2 * time.Second,
		},
		{
			"a put with everything", "PUT", "/v1/kv/k?w=3&r=1&timeout=500ms&quorum=strict", "v",
			[]string{"Dynamo-Context", token("k", seen), "Idempotency-Key", writeID.String()},
			core.Request{
				Op: core.OpPut, Key: []byte("k"), Value: []byte("v"), Context: seen, HasContext: true,
				Options: core.Options{R: 1, W: 3, Quorum: core.QuorumStrict, WriteID: writeID},
			},
			500 * time.Millisecond,
		},
		{
			"an empty context is none", "PUT", "/v1/kv/k", "v",
			[]string{"Dynamo-Context", ""},
			core.Request{Op: core.OpPut, Key: []byte("k"), Value: []byte("v")},
			2 * time.Second,
		},
		{
			"an overwriting delete", "DELETE", "/v1/kv/k?overwrite&quorum=sloppy", "", nil,
			core.Request{
				Op: core.OpDelete, Key: []byte("k"),
				Options: core.Options{Overwrite: true, Quorum: core.QuorumSloppy},
			},
			2 * time.Second,
		},
		{
			"a delete with a context", "DELETE", "/v1/kv/k?overwrite=false", "",
			[]string{"Dynamo-Context", token("k", seen)},
			core.Request{Op: core.OpDelete, Key: []byte("k"), Context: seen, HasContext: true},
			2 * time.Second,
		},
		{
			"a get", "GET", "/v1/kv/k?r=3&timeout=1m", "", nil,
			core.Request{Op: core.OpGet, Key: []byte("k"), Options: core.Options{R: 3}},
			time.Minute,
		},
		{
			"a blocking get", "GET", "/v1/kv/k?repair=blocking", "", nil,
			core.Request{Op: core.OpGet, Key: []byte("k"), Options: core.Options{Repair: core.RepairBlocking}},
			2 * time.Second,
		},
		{
			"a get that says what is the default", "GET", "/v1/kv/k?repair=background&quorum=sloppy", "", nil,
			core.Request{Op: core.OpGet, Key: []byte("k"), Options: core.Options{Quorum: core.QuorumSloppy}},
			2 * time.Second,
		},
		{"a head", "HEAD", "/v1/kv/k", "", nil, core.Request{Op: core.OpGet, Key: []byte("k")}, 2 * time.Second},
		{
			"a get ignores the headers of writes", "GET", "/v1/kv/k", "",
			[]string{"Dynamo-Context", "none", "Idempotency-Key", ""},
			core.Request{Op: core.OpGet, Key: []byte("k")},
			2 * time.Second,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := &fake{result: found(siblings("v"))}
			call(t, f, test.method, test.target, test.body, test.headers...)
			if f.asked == nil {
				t.Fatal("the backend was not asked")
			}
			if diff := cmp.Diff(&test.want, f.asked); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
			if f.timeout != test.timeout {
				t.Errorf("timeout %v, want %v", f.timeout, test.timeout)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	other := []string{"Dynamo-Context", token("other", version.DotClock(dot(1)))}
	mine := []string{"Dynamo-Context", token("k", version.DotClock(dot(1)))}
	tests := []struct {
		name           string
		method, target string
		headers        []string
		status         int
		code           string
		says           string
	}{
		{"an empty key", "GET", "/v1/kv/", nil, 400, "invalid_request", "empty"},
		{"a key too long", "GET", "/v1/kv/" + strings.Repeat("k", 2049), nil, 400, "invalid_request", "1 to 2048"},
		{"r is 0", "GET", "/v1/kv/k?r=0", nil, 400, "invalid_request", "1 to 3"},
		{"r above N", "GET", "/v1/kv/k?r=4", nil, 400, "invalid_request", "1 to 3"},
		{"w is negative", "PUT", "/v1/kv/k?w=-1", nil, 400, "invalid_request", "1 to 3"},
		{"w is no number", "PUT", "/v1/kv/k?w=two", nil, 400, "invalid_request", "1 to 3"},
		{"a timeout without a unit", "GET", "/v1/kv/k?timeout=500", nil, 400, "invalid_request", "500ms"},
		{"a timeout too short", "GET", "/v1/kv/k?timeout=999us", nil, 400, "invalid_request", "1ms"},
		{"a timeout too long", "GET", "/v1/kv/k?timeout=61s", nil, 400, "invalid_request", "1m0s"},
		{"an unknown repair", "GET", "/v1/kv/k?repair=later", nil, 400, "invalid_request", "background and blocking"},
		{"a blocking write", "DELETE", "/v1/kv/k?overwrite&repair=blocking", nil, 400, "invalid_request", "is for reads"},
		{"a blocking sloppy read", "GET", "/v1/kv/k?repair=blocking&quorum=sloppy", nil, 400, "invalid_request", "contradict"},
		{"an unknown quorum", "GET", "/v1/kv/k?quorum=loose", nil, 400, "invalid_request", "strict and sloppy"},
		{"overwrite with a number", "PUT", "/v1/kv/k?overwrite=2", nil, 400, "invalid_request", "true and false"},
		{"overwrite of a read", "GET", "/v1/kv/k?overwrite=true", nil, 400, "invalid_request", "for writes"},
		{"an unknown parameter", "PUT", "/v1/kv/k?overwrit=true", nil, 400, "invalid_request", "not known"},
		{"a parameter twice", "PUT", "/v1/kv/k?w=1&w=2", nil, 400, "invalid_request", "once"},
		{"a broken query", "PUT", "/v1/kv/k?w=%zz", nil, 400, "invalid_request", "malformed"},
		{"a delete with neither", "DELETE", "/v1/kv/k", nil, 400, "invalid_request", "context"},
		{"context and overwrite", "PUT", "/v1/kv/k?overwrite=true", mine, 400, "invalid_request", "contradict"},
		{"a context of another key", "PUT", "/v1/kv/k", other, 400, "invalid_context", "another key"},
		{"a broken context", "PUT", "/v1/kv/k", []string{"Dynamo-Context", "x"}, 400, "invalid_context", "malformed"},
		{"two contexts", "PUT", "/v1/kv/k", append(mine, mine...), 400, "invalid_request", "once"},
		{"an empty idempotency key", "PUT", "/v1/kv/k", []string{"Idempotency-Key", ""}, 400, "invalid_request", "1 to 255"},
		{"an idempotency key too long", "PUT", "/v1/kv/k", []string{"Idempotency-Key", strings.Repeat("i", 256)}, 400, "invalid_request", "1 to 255"},
		{"the write ID zero", "PUT", "/v1/kv/k", []string{"Idempotency-Key", strings.Repeat("0", 32)}, 400, "invalid_request", "zeros"},
		{"a condition", "PUT", "/v1/kv/k", []string{"If-None-Match", "*"}, 400, "invalid_request", "Dynamo-Context"},
		{"a condition of a delete", "DELETE", "/v1/kv/k?overwrite", []string{"If-Match", `"x"`}, 400, "invalid_request", "If-Match"},
		{"a condition on the time", "PUT", "/v1/kv/k", []string{"If-Unmodified-Since", "now"}, 400, "invalid_request", "If-Unmodified-Since"},
		{"a part of a value", "PUT", "/v1/kv/k", []string{"Content-Range", "bytes 0-1/5"}, 400, "invalid_request", "a whole value"},
		{"an unknown path", "GET", "/v1/keys", nil, 404, "no_such_path", "/v1/kv/{key}"},
		{"no key", "GET", "/v1/kv", nil, 404, "no_such_path", "/v1/kv/{key}"},
		{"a method", "POST", "/v1/kv/k", nil, 405, "method_not_allowed", "POST"},
		{"a method of status", "PUT", "/v1/status", nil, 405, "method_not_allowed", "PUT"},
		{"a method of health", "DELETE", "/health", nil, 405, "method_not_allowed", "DELETE"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := &fake{}
			w := call(t, f, test.method, test.target, "value", test.headers...)
			wantStatus(t, w, test.status)
			e := errorOf(t, w.Body.Bytes())
			if e.Code != test.code || !strings.Contains(e.Message, test.says) {
				t.Errorf("error %q: %q; want the code %q, and %q in the message", e.Code, e.Message, test.code, test.says)
			}
			outcome := ""
			if test.status == 400 && test.method != "GET" {
				outcome = "not_written"
			}
			if e.Outcome != outcome {
				t.Errorf("outcome %q, want %q", e.Outcome, outcome)
			}
			if e.Acknowledged != nil || e.Required != nil {
				t.Errorf("counts replicas, though none was asked: %s", w.Body)
			}
			if f.asked != nil {
				t.Error("the backend was asked")
			}
			if allow := w.Header().Get("Allow"); (allow != "") != (test.status == 405) {
				t.Errorf("Allow is %q", allow)
			}
		})
	}
}

// errorJSON is an error as a client of the protocol reads it.
type errorJSON struct {
	Code         string `json:"code"`
	Message      string `json:"message"`
	Acknowledged *int   `json:"acknowledged"`
	Required     *int   `json:"required"`
	Outcome      string `json:"outcome"`
}

func errorOf(t *testing.T, body []byte) errorJSON {
	t.Helper()
	var v struct {
		Error errorJSON `json:"error"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("the answer is not JSON: %v: %s", err, body)
	}
	return v.Error
}

func TestFailures(t *testing.T) {
	type failure struct {
		method  string
		result  core.Result
		status  int
		body    string
		retries bool
	}
	result := func(c core.Code, o core.Outcome, acknowledged, required int) core.Result {
		return core.Result{Code: c, Outcome: o, Acknowledged: acknowledged, Required: required}
	}
	tests := map[string]failure{
		"quorum of a put, not written": {
			"PUT", result(core.CodeQuorum, core.NotWritten, 0, 2), 503,
			`{"error":{"code":"quorum","message":"0 of 2 replicas acknowledged, and no more can be reached; nothing was written",` +
				`"acknowledged":0,"required":2,"outcome":"not_written","request_id":"r1"}}`, false,
		},
		"quorum of a put, unknown": {
			"PUT", result(core.CodeQuorum, core.Unknown, 1, 2), 503,
			`{"error":{"code":"quorum","message":"1 of 2 replicas acknowledged, and no more can be reached; ` +
				`whether it was written is not known: read the key, or repeat the write with the same idempotency key",` +
				`"acknowledged":1,"required":2,"outcome":"unknown","request_id":"r1"}}`, false,
		},
		"quorum of a get": {
			"GET", result(core.CodeQuorum, 0, 1, 2), 503,
			`{"error":{"code":"quorum","message":"1 of 2 replicas answered, and no more can be reached","acknowledged":1,"required":2,"request_id":"r1"}}`, false,
		},
		"timeout of a put": {
			"PUT", result(core.CodeTimeout, core.Unknown, 1, 2), 504,
			`{"error":{"code":"timeout","message":"1 of 2 replicas acknowledged in time; ` +
				`whether it was written is not known: read the key, or repeat the write with the same idempotency key",` +
				`"acknowledged":1,"required":2,"outcome":"unknown","request_id":"r1"}}`, false,
		},
		"timeout of a get": {
			"GET", result(core.CodeTimeout, 0, 0, 2), 504,
			`{"error":{"code":"timeout","message":"0 of 2 replicas answered in time","acknowledged":0,"required":2,"request_id":"r1"}}`, false,
		},
		"overloaded": {
			"PUT", result(core.CodeOverloaded, core.NotWritten, 0, 0), 503,
			`{"error":{"code":"overloaded","message":"the node has more requests than it can hold; try again later, with growing pauses",` +
				`"outcome":"not_written","request_id":"r1"}}`, true,
		},
		"too many siblings": {
			"PUT", result(core.CodeTooManySiblings, core.NotWritten, 0, 0), 409,
			`{"error":{"code":"too_many_siblings","message":"the key has too many siblings; read it, and write the merged value ` +
				`with the context that the read returned","outcome":"not_written","request_id":"r1"}}`, false,
		},
		"set too large": {
			"PUT", result(core.CodeSetTooLarge, core.NotWritten, 0, 0), 409,
			`{"error":{"code":"set_too_large","message":"the key's siblings are too large together; read it, and write the merged value ` +
				`with the context that the read returned","outcome":"not_written","request_id":"r1"}}`, false,
		},
		"clock too long": {
			"PUT", result(core.CodeClockTooLong, core.NotWritten, 0, 0), 409,
			`{"error":{"code":"clock_too_long","message":"the key's clock has too many entries; it takes writes again when they have been pruned",` +
				`"outcome":"not_written","request_id":"r1"}}`, false,
		},
		"storage full": {
			"PUT", result(core.CodeStorageFull, core.NotWritten, 0, 0), 507,
			`{"error":{"code":"storage_full","message":"too few nodes have room left on their disks, or in their memory, for this write; ` +
				`nothing was written; deletes and reads go on, and writes do when there is room","outcome":"not_written","request_id":"r1"}}`, false,
		},
		"not ready": {
			"GET", result(core.CodeNotReady, 0, 0, 0), 503,
			`{"error":{"code":"not_ready","message":"the node does not serve yet: it has no layout; its /health says what it waits for","request_id":"r1"}}`, true,
		},
		"stopped": {
			"GET", result(core.CodeStopped, 0, 0, 0), 503,
			`{"error":{"code":"stopped","message":"the node stops","request_id":"r1"}}`, true,
		},
		"a code that no request has": {
			"GET", result(core.CodeRefused, 0, 0, 0), 500,
			`{"error":{"code":"refused","message":"unexpected result refused","request_id":"r1"}}`, false,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := call(t, &fake{result: test.result}, test.method, "/v1/kv/k", "")
			wantStatus(t, w, test.status)
			if diff := cmp.Diff(test.body+"\n", w.Body.String()); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			if got := w.Header().Get("Retry-After"); (got != "") != test.retries {
				t.Errorf("Retry-After is %q", got)
			}
			if got := w.Header().Get("Dynamo-Context"); got != "" {
				t.Errorf("a failure has the context %q", got)
			}
		})
	}
}

func TestShowJoinsTwins(t *testing.T) {
	set := siblings("same", "other", "same")
	shown := Show(nil, set)
	if len(shown) != 2 {
		t.Fatalf("%d values shown, want 2", len(shown))
	}
	for _, counter := range []uint64{1, 3} {
		if !shown[0].Clock.Covers(dot(counter)) {
			t.Errorf("the clock %v of the equal bytes does not cover %v", shown[0].Clock, dot(counter))
		}
	}
	if shown[0].Clock.Covers(dot(2)) {
		t.Errorf("the clock %v of the equal bytes covers the other sibling", shown[0].Clock)
	}
	if want := set.Versions[2].Timestamp; shown[0].Timestamp != want {
		t.Errorf("timestamp %d, want the later one, %d", shown[0].Timestamp, want)
	}
}

func TestWriteIDFrom(t *testing.T) {
	hashed, err := WriteIDFrom("order-17")
	if err != nil {
		t.Fatal(err)
	}
	again, err := WriteIDFrom("order-17")
	if err != nil || hashed != again {
		t.Errorf("one key, two IDs: %v and %v (%v)", hashed, again, err)
	}
	if other, _ := WriteIDFrom("order-18"); other == hashed {
		t.Error("two keys, one ID")
	}
	if upper, _ := WriteIDFrom("000102030405060708090A0B0C0D0E0F"); upper.String() != "000102030405060708090a0b0c0d0e0f" {
		t.Errorf("32 hexadecimal digits are hashed to %v", upper)
	}
}

func TestLimitsAtTheirBounds(t *testing.T) {
	q := core.Request{Op: core.OpPut, Key: make([]byte, id.MaxKeyBytes), Value: make([]byte, testLimits.MaxValueBytes)}
	if err := testLimits.Check(&q); err != nil {
		t.Errorf("the longest key and value are refused: %v", err)
	}
	q.Value = append(q.Value, 0)
	if err := testLimits.Check(&q); err == nil {
		t.Error("a byte more than the limit is accepted")
	}
}
