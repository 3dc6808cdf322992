package httpjson

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// backend answers what it is told and keeps what it was asked.
type backend struct {
	result core.Result
	asked  *core.Request

	from    id.Node
	message core.Message
	reply   core.Message
	code    core.Code

	sums   []core.RangeSum // one an answer
	ranges []string        // that were summed up

	status core.ClusterStatus
}

func (b *backend) Do(_ context.Context, q *core.Request, _ time.Duration) core.Result {
	b.asked = q
	return b.result
}

func (b *backend) Ask(_ context.Context, from id.Node, _ []byte, m core.Message, _ time.Duration) (core.Message, core.Code) {
	b.from, b.message = from, m
	if _, ok := m.(*core.Gossip); ok {
		b.status.Members = slices.Clone(b.status.Members)
		b.status.Members[0].Heartbeat++ // what it is told changes what it knows
	}
	return b.reply, b.code
}

func (b *backend) Sum(_ context.Context, first, last ring.Position, most int, _ time.Duration) (core.RangeSum, core.Code) {
	b.ranges = append(b.ranges, fmt.Sprintf("%x-%x %d", uint64(first), uint64(last), most))
	if b.code != core.CodeOK {
		return core.RangeSum{}, b.code
	}
	sum := b.sums[0]
	b.sums = b.sums[1:]
	return sum, core.CodeOK
}

func (b *backend) Status() core.ClusterStatus { return b.status }

// untouched says that the backend was asked for nothing.
func (b *backend) untouched() bool { return b.asked == nil && b.message == nil && b.ranges == nil }

func call(t *testing.T, b *backend, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	NewHandler(b, slog.New(slog.DiscardHandler)).Routes()[path].ServeHTTP(w, r)
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("content type %q", got)
	}
	return w
}

func post(t *testing.T, b *backend, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	return call(t, b, http.MethodPost, path, body)
}

// wantOK fails unless the answer is that one, of a success.
func wantOK(t *testing.T, w *httptest.ResponseRecorder, want string) {
	t.Helper()
	if diff := cmp.Diff(want, strings.TrimSpace(w.Body.String())); w.Code != http.StatusOK || diff != "" {
		t.Errorf("status %d; the answer (-want +got):\n%s", w.Code, diff)
	}
}

func actor(node string, seq uint64) version.Actor {
	return version.Actor{Node: id.Node(node), Epoch: version.Epoch{Start: 0xab, Seq: seq}}
}

func TestGetShowsTheWholeSet(t *testing.T) {
	at := time.Date(2026, 11, 26, 10, 0, 0, 5, time.UTC)
	set, first := version.Siblings{}.Put(version.Clock{}, actor("n1", 1), version.Write{Timestamp: at.UnixNano(), Data: []byte("old")})
	set, _ = set.Put(version.DotClock(first), actor("n1", 1), version.Write{ID: version.WriteID{15: 7}, Timestamp: at.UnixNano(), Data: []byte("new")})
	set, _ = set.Put(version.Clock{}, actor("n2", 3), version.Write{Timestamp: at.UnixNano(), Tombstone: true})
	b := &backend{result: core.Result{Code: core.CodeOK, Set: set}}
	w := post(t, b, GetPath, `{"key":"cart"}`)
	if b.asked == nil || b.asked.Op != core.OpInspect || string(b.asked.Key) != "cart" {
		t.Fatalf("after asking %+v: %s", b.asked, w.Body)
	}
	wantOK(t, w, `{"values":[`+
		`{"data":"bmV3","vector_clock":{"n1~00000000000000ab.1":2},"timestamp":"2026-11-26T10:00:00.000000005Z","is_tombstone":false,`+
		`"dot":{"actor":"n1~00000000000000ab.1","counter":2},"write_id":"00000000000000000000000000000007"},`+
		`{"data":"","vector_clock":{"n1~00000000000000ab.1":1,"n2~00000000000000ab.3":1},"timestamp":"2026-11-26T10:00:00.000000005Z","is_tombstone":true,`+
		`"dot":{"actor":"n2~00000000000000ab.3","counter":1}}],`+
		`"clock":{"vector":{"n1~00000000000000ab.1":2,"n2~00000000000000ab.3":1}}}`)
}

// Two blind writes of one actor: the second has not seen the first, and its
// vector does not say so.
func TestVectorsCoverNoSibling(t *testing.T) {
	set, _ := version.Siblings{}.Put(version.Clock{}, actor("n1", 1), version.Write{Data: []byte("a")})
	set, _ = set.Put(version.Clock{}, actor("n1", 1), version.Write{Data: []byte("b")})
	shown := versionsOf(set)
	if len(shown[0].VectorClock) != 1 || len(shown[1].VectorClock) != 0 || shown[1].Dot.Counter != 2 {
		t.Errorf("shown as %+v", shown)
	}
}

func TestGetOfNothing(t *testing.T) {
	w := post(t, &backend{result: core.Result{Code: core.CodeNotFound}}, GetPath, `{"key_base64":"/w=="}`)
	wantOK(t, w, `{"values":[],"clock":{"vector":{}}}`)
}

func TestClockWithIsolatedDots(t *testing.T) {
	c, err := version.NewClock([]version.Dot{{Actor: actor("a", 1), Counter: 2}}, []version.Dot{{Actor: actor("a", 1), Counter: 9}})
	if err != nil {
		t.Fatal(err)
	}
	want := Clock{Vector: map[string]uint64{"a~00000000000000ab.1": 2}, Dots: []Dot{{Actor: "a~00000000000000ab.1", Counter: 9}}}
	if diff := cmp.Diff(want, clockOf(c)); diff != "" {
		t.Error(diff)
	}
}

const oneVersion = `"value":{"data":"bWlsaw==","vector_clock":{"n1~00000000000000ab.1":2},"dot":{"actor":"n1~00000000000000ab.1","counter":2}}`

func TestPutIsAnApply(t *testing.T) {
	b := &backend{status: core.ClusterStatus{Self: "n1"}, reply: &core.Applied{}, code: core.CodeOK}
	wantOK(t, post(t, b, PutPath, `{"key":"cart",`+oneVersion+`}`), `{"success":true}`)
	m, ok := b.message.(*core.Apply)
	if !ok || b.from != "n1" || string(m.Key) != "cart" || len(m.Set.Versions) != 1 || m.Set.Clock.Len() != 1 {
		t.Errorf("%s asks for %#v", b.from, b.message)
	}
	whole := `{"key_base64":"/w==","versions":[],"clock":{"vector":{"n1~00000000000000ab.1":7}},"more":1}`
	wantOK(t, post(t, b, PutPath, whole), `{"success":true}`)
	if m := b.message.(*core.Apply); string(m.Key) != "\xff" || len(m.Set.Versions) != 0 || m.Set.Clock.Max(actor("n1", 1)) != 7 {
		t.Errorf("a set without versions asks for %#v", m)
	}
}

func TestHintIsAHint(t *testing.T) {
	b := &backend{status: core.ClusterStatus{Self: "n1"}, reply: &core.Hinted{}, code: core.CodeOK}
	wantOK(t, post(t, b, HintPath, `{"original_node":"n2","key":"cart",`+oneVersion+`}`), `{"success":true}`)
	if m, ok := b.message.(*core.Hint); !ok || m.Owner != "n2" || string(m.Key) != "cart" || len(m.Set.Versions) != 1 {
		t.Errorf("a hint asks for %#v", b.message)
	}
	b.reply = &core.Applied{}
	wantOK(t, post(t, b, HintPath, `{"original_node":"n1","key":"cart",`+oneVersion+`}`), `{"success":true}`)
	if _, ok := b.message.(*core.Apply); !ok {
		t.Errorf("a hint for oneself asks for %#v", b.message)
	}
}

func TestRefusedWrites(t *testing.T) {
	for why, want := range map[core.Refusal]struct {
		status int
		says   string
	}{
		core.RefusedInvalid:     {http.StatusConflict, "the same dot and other bytes"},
		core.RefusedHintsFull:   {http.StatusServiceUnavailable, "MaxHintBytes"},
		core.RefusedStorageFull: {http.StatusInsufficientStorage, "no room left"},
		core.RefusedOverloaded:  {http.StatusServiceUnavailable, "more requests than it can hold"},
		core.RefusedStale:       {http.StatusServiceUnavailable, "stale layout; try again"},
	} {
		w := post(t, &backend{reply: &core.Refused{Why: why}, code: core.CodeOK}, HintPath, `{"original_node":"n2","key":"cart",`+oneVersion+`}`)
		retry := w.Header().Get("Retry-After") != ""
		if w.Code != want.status || !strings.Contains(w.Body.String(), want.says) ||
			!strings.Contains(w.Body.String(), `"success":false`) || retry != (want.status == http.StatusServiceUnavailable) {
			t.Errorf("%v is answered with %d %s, retry %v", why, w.Code, w.Body, retry)
		}
	}
}

// cluster is what a node of three knows, two of which own each key.
func cluster(t *testing.T) core.ClusterStatus {
	t.Helper()
	l, err := ring.Form(4, 2, []ring.Member{{ID: "n1", Weight: 1}, {ID: "n2", Weight: 1}, {ID: "n3", Weight: 1}})
	if err != nil {
		t.Fatal(err)
	}
	st := core.ClusterStatus{Self: "n1", Cluster: 0xc, Layouts: core.LayoutState{Live: []*ring.Layout{l}, Phase: core.PhaseDone}}
	for i, n := range []id.Node{"n1", "n2", "n3", "n4"} {
		m := core.MemberStatus{Status: core.Alive}
		m.ID, m.Addr, m.Weight, m.Incarnation, m.Heartbeat, m.State = n, fmt.Sprintf("127.0.0.1:%d", 7171+i), 1, 2, 17, core.Active
		st.Members = append(st.Members, m)
	}
	st.Members[1].Status, st.Members[2].Status = core.Suspected, core.Dead
	st.Members[3].Status, st.Members[3].State = core.NoStatus, core.Left
	return st
}

func TestGossipShowsTheMembers(t *testing.T) {
	b := &backend{status: cluster(t)}
	before := time.Now()
	w := post(t, b, GossipPath, `{"from_node":"a-stranger","members":[{"node_id":"a-stranger","address":"10.0.0.9:1","status":"alive","heartbeat":1,"tokens":[]}]}`)
	var got GossipReply
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK {
		t.Fatalf("status %d, %v: %s", w.Code, err, w.Body)
	}
	if b.message != nil || got.Merged || got.Cluster != "000000000000000c" || got.Error != "" || len(got.Members) != 4 {
		t.Errorf("asked %v, answered %+v", b.message, got)
	}
	var owned []uint32
	for i, m := range got.Members {
		if m.NodeID != string(b.status.Members[i].ID) || m.Address != b.status.Members[i].Addr || m.Heartbeat != 17 ||
			m.Status != b.status.Members[i].Status.String() || m.Timestamp.Before(before.Truncate(0)) || !slices.IsSorted(m.Tokens) {
			t.Errorf("member %d is told as %+v", i, m)
		}
		owned = append(owned, m.Tokens...)
	}
	slices.Sort(owned)
	if diff := cmp.Diff([]uint32{0, 0, 1, 1, 2, 2, 3, 3}, owned); diff != "" {
		t.Errorf("the partitions of all members (-want +got):\n%s", diff)
	}
}

// What a node shows of the members is what another one takes in.
func TestGossipIsTakenIn(t *testing.T) {
	st := cluster(t)
	shown, err := json.Marshal(GossipRequest{FromNode: "n2", Cluster: "000000000000000c", Members: membersOf(&st, time.Now())})
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{status: st, code: core.CodeOK, reply: &core.GossipReply{}}
	w := post(t, b, GossipPath, string(shown))
	m, ok := b.message.(*core.Gossip)
	if !ok || b.from != "n2" || m.State.Cluster != 0xc || w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"merged":true`) {
		t.Fatalf("asked %#v of %s; status %d: %.200s", b.message, b.from, w.Code, w.Body)
	}
	if !strings.Contains(w.Body.String(), `"heartbeat":18`) {
		t.Errorf("the answer shows the members as they were before: %.300s", w.Body)
	}
	for i, got := range m.State.Members {
		if diff := cmp.Diff(st.Members[i].Member, got); diff != "" {
			t.Errorf("member %d (-shown +taken in):\n%s", i, diff)
		}
	}
	b = &backend{status: st, code: core.CodeOK}
	for _, lacks := range []func(*GossipRequest){
		func(q *GossipRequest) { q.Cluster = "" },
		func(q *GossipRequest) { q.FromNode = "n9" },
		func(q *GossipRequest) { q.Members[1].Record = nil },
	} {
		q := throughJSON(t, GossipRequest{FromNode: "n2", Cluster: "000000000000000c", Members: membersOf(&st, time.Now())})
		lacks(&q)
		body, _ := json.Marshal(q)
		if w := post(t, b, GossipPath, string(body)); b.message != nil || !strings.Contains(w.Body.String(), `"merged":false`) {
			t.Errorf("gossip that is not whole is taken in: %.300s", body)
		}
	}
}

func TestGossipOfAnotherCluster(t *testing.T) {
	w := post(t, &backend{status: cluster(t)}, GossipPath, `{"from_node":"n2","cluster":"000000000000000d","members":[]}`)
	if w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), `node n1 is in cluster \"000000000000000c\"`) {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

func TestSync(t *testing.T) {
	sum := core.RangeSum{Sum: core.TreeHash{0x1f, 0x2e}}
	const root = "000000000000002e000000000000001f"
	listed := core.RangeSum{Sum: sum.Sum, Keys: [][]byte{[]byte("a"), {0xff}, []byte("\ufffd"), []byte("b")}}
	for _, tt := range []struct {
		name, body, want string
		sums             []core.RangeSum
		ranges           []string
	}{
		{
			"everything", `{}`, `{"tree_root":"` + root + `","differences":[]}`,
			[]core.RangeSum{sum},
			[]string{"0-ffffffffffffffff 0"},
		},
		{
			"a range", `{"key_range":{"start":"00000000000000ff","end":"00000000000001FF"}}`, `{"tree_root":"` + root + `","differences":[]}`,
			[]core.RangeSum{sum},
			[]string{"ff-1ff 0"},
		},
		{
			"equal", `{"tree_root":"` + root + `"}`, `{"tree_root":"` + root + `","differences":[]}`,
			[]core.RangeSum{sum},
			[]string{"0-ffffffffffffffff 0"},
		},
		{
			"different", `{"key_range":{"start":"","end":""},"tree_root":"` + strings.Repeat("0", 32) + `"}`,
			`{"tree_root":"` + root + `","differences":["a","b"],"differences_base64":["/w==","77+9"]}`,
			[]core.RangeSum{sum, listed},
			[]string{"0-ffffffffffffffff 0", "0-ffffffffffffffff 1000"},
		},
	} {
		b := &backend{code: core.CodeOK, sums: tt.sums}
		wantOK(t, post(t, b, SyncPath, tt.body), tt.want)
		if diff := cmp.Diff(tt.ranges, b.ranges); diff != "" {
			t.Errorf("%s: ranges (-want +got):\n%s", tt.name, diff)
		}
	}
	w := post(t, &backend{code: core.CodeTimeout}, SyncPath, `{}`)
	if w.Code != http.StatusGatewayTimeout || !strings.Contains(w.Body.String(), `"tree_root":""`) {
		t.Errorf("a range that takes too long: status %d: %s", w.Code, w.Body)
	}
}

// Where there are more keys than an answer takes, the next range begins where
// this one's keys end, and no key is left out.
func TestSyncGoesOn(t *testing.T) {
	keys := [][]byte{[]byte("a"), []byte("b"), []byte("c")}
	slices.SortFunc(keys, func(a, b []byte) int {
		return strings.Compare(digits(uint64(ring.Hash(a))), digits(uint64(ring.Hash(b))))
	})
	var reply SyncReply
	reply.list(&core.RangeSum{Keys: keys, More: true})
	if want := digits(uint64(ring.Hash(keys[2]))); reply.Next != want || len(reply.Differences) != 2 || reply.Differences[1] != string(keys[1]) {
		t.Errorf("the keys %q are told as %+v, want next %s", keys, reply, want)
	}
}

func TestBadRequests(t *testing.T) {
	long := strings.Repeat("k", id.MaxKeyBytes+1)
	for _, tt := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"another method", http.MethodGet, GetPath, ``, http.StatusMethodNotAllowed, "use POST"},
		{"no JSON", http.MethodPost, GetPath, `key=cart`, http.StatusBadRequest, `write it like {"key": "cart"}`},
		{"no key", http.MethodPost, GetPath, `{}`, http.StatusBadRequest, "one of key and key_base64"},
		{"two keys", http.MethodPost, GetPath, `{"key":"a","key_base64":"YQ=="}`, http.StatusBadRequest, "one of key and key_base64"},
		{"a number", http.MethodPost, GetPath, `{"key":7}`, http.StatusBadRequest, "request: key is of the type number; a string is allowed; write"},
		{"a list", http.MethodPost, GetPath, `[]`, http.StatusBadRequest, "request: it is of the type array; an object is allowed; write"},
		{"an empty key", http.MethodPost, GetPath, `{"key":""}`, http.StatusBadRequest, "1 to 2048"},
		{"a long key", http.MethodPost, GetPath, `{"key":"` + long + `"}`, http.StatusBadRequest, "2049 bytes"},
		{"bad base64", http.MethodPost, GetPath, `{"key_base64":"?"}`, http.StatusBadRequest, "base64 with padding"},
		{"half a character", http.MethodPost, GetPath, `{"key":"\ud800"}`, http.StatusBadRequest, "key_base64"},
		{"no UTF-8", http.MethodPost, GetPath, "{\"key\":\"\xff\"}", http.StatusBadRequest, "key_base64"},
		{"more than one value", http.MethodPost, GetPath, `{"key":"a"}{"key":"b"}`, http.StatusBadRequest, "not a request"},
		{"a large body", http.MethodPost, GetPath, `{"key":"` + strings.Repeat("k", maxKeyBody) + `"}`, http.StatusRequestEntityTooLarge, "more than 17408 bytes"},

		{"put without a key", http.MethodPost, PutPath, `{` + oneVersion + `}`, http.StatusBadRequest, "one of key and key_base64"},
		{"put of nothing", http.MethodPost, PutPath, `{"key":"a"}`, http.StatusBadRequest, "give one of value"},
		{"put of a text", http.MethodPost, PutPath, `{"key":"a","value":"b"}`, http.StatusBadRequest, `value is of the type string; an object is allowed; write it like {"key": "cart", "value"`},
		{"a bad time", http.MethodPost, PutPath, `{"key":"a","value":{"timestamp":"yesterday"}}`, http.StatusBadRequest, `request: value.timestamp is "yesterday"; a string of RFC 3339, as in "2006-01-02T15:04:05Z", is allowed; write it like`},
		{"a number for a time", http.MethodPost, PutPath, `{"key":"a","value":{"timestamp":7}}`, http.StatusBadRequest, `value.timestamp is 7; a string of RFC 3339, as in`},
		{"a bool for a time", http.MethodPost, PutPath, `{"key":"a","versions":[{"timestamp":true}]}`, http.StatusBadRequest, `versions.timestamp is true; a string of RFC 3339`},
		{"an object for a time", http.MethodPost, GossipPath, `{"from_node":"n1","members":[{"timestamp":{}}]}`, http.StatusBadRequest, `members.timestamp is {}; a string of RFC 3339`},
		{"bad data", http.MethodPost, PutPath, `{"key":"a","value":{"data":5}}`, http.StatusBadRequest, "value.data is of the type number; a string in base64 with padding is allowed"},
		{"data without padding", http.MethodPost, PutPath, `{"key":"a","value":{"data":"YQ"}}`, http.StatusBadRequest, `value.data is "YQ"; a string in base64 with padding is allowed`},
		{"data as a list", http.MethodPost, PutPath, `{"key":"a","value":{"data":[1,2]}}`, http.StatusBadRequest, "value.data is of the type array; a string in base64 with padding is allowed"},
		{"a bad counter", http.MethodPost, PutPath, `{"key":"a","value":{"vector_clock":{"a":-1}}}`, http.StatusBadRequest, "an entry of value.vector_clock is the number -1; a whole number of 0 to 18446744073709551615, in digits, is allowed"},
		{"a text for a counter", http.MethodPost, PutPath, `{"key":"a","value":{"vector_clock":{"a":"1"}}}`, http.StatusBadRequest, "an entry of value.vector_clock is of the type string; a whole number"},
		{"a list for a clock", http.MethodPost, PutPath, `{"key":"a","value":{"vector_clock":[]}}`, http.StatusBadRequest, "request: value.vector_clock is of the type array; an object is allowed"},
		{"a counter of 0", http.MethodPost, PutPath, `{"key":"a","value":{"vector_clock":{"a":0}}}`, http.StatusBadRequest, `value.vector_clock: the counter of "a" is 0; 1 to 9223372036854775807 are allowed`},
		{"a dot without an actor", http.MethodPost, PutPath, `{"key":"a","value":{"dot":{"counter":1}}}`, http.StatusBadRequest, `value.dot: the actor "": node ID is empty`},
		{"a dot without a counter", http.MethodPost, PutPath, `{"key":"a","value":{"dot":{"actor":"a"}}}`, http.StatusBadRequest, `value.dot: the counter of "a" is 0; 1 to`},
		{"a dot of a clock", http.MethodPost, PutPath, `{"key":"a","clock":{"dots":[{"actor":"a~b","counter":1}]}}`, http.StatusBadRequest, `clock: malformed actor "a~b": use node~start.sequence`},
		{"a text for a version", http.MethodPost, PutPath, `{"key":"a","versions":["b"]}`, http.StatusBadRequest, "an entry of versions is of the type string; an object is allowed"},
		{"a bad kind", http.MethodPost, PutPath, `{"key":"a","value":{"is_tombstone":"yes"}}`, http.StatusBadRequest, "value.is_tombstone is of the type string; true or false is allowed"},
		{"a version for all", http.MethodPost, PutPath, `{"key":"a","versions":{}}`, http.StatusBadRequest, "request: versions is of the type object; a list is allowed"},
		{"many versions", http.MethodPost, PutPath, `{"key":"a","versions":[` + strings.Repeat("{},", maxObjects) + `{}]}`, http.StatusBadRequest, "objects and lists"},
		{"many values", http.MethodPost, PutPath, `{"key":"a","x":[` + strings.Repeat("1,", maxValues+1) + `1]}`, http.StatusBadRequest, "values; at most"},

		{"hint for nobody", http.MethodPost, HintPath, `{"key":"a",` + oneVersion + `}`, http.StatusBadRequest, "original_node"},
		{"hint without JSON", http.MethodPost, HintPath, ``, http.StatusBadRequest, `"original_node": "n2"`},

		{"gossip of nobody", http.MethodPost, GossipPath, `{"members":[]}`, http.StatusBadRequest, "from_node"},
		{"gossip of a text", http.MethodPost, GossipPath, `"hello"`, http.StatusBadRequest, "write it like"},
		{"a bad cluster", http.MethodPost, GossipPath, `{"from_node":"n1","cluster":"7"}`, http.StatusBadRequest, "16 hexadecimal digits"},
		{"a bad member", http.MethodPost, GossipPath, `{"from_node":"n1","members":[{"node_id":"a"},{"node_id":"a~b"}]}`, http.StatusBadRequest, `member 2 of 2: node_id: node ID "a~b" has the character '~'`},
		{"an empty member", http.MethodPost, GossipPath, `{"from_node":"n1","members":[{}]}`, http.StatusBadRequest, "member 1 of 1: node_id: node ID is empty"},
		{"a partition that cannot be", http.MethodPost, GossipPath, `{"from_node":"n1","members":[{"tokens":[4294967296]}]}`, http.StatusBadRequest, "an entry of members.tokens is the number 4294967296; a whole number of 0 to 4294967295, in digits, is allowed"},
		{"a bad record", http.MethodPost, GossipPath, `{"from_node":"n1","members":[{"node_id":"a","record":{}}]}`, http.StatusBadRequest, "member a: the address"},
		{"many members", http.MethodPost, GossipPath, `{"from_node":"n1","members":[` + strings.Repeat("{},", id.MaxMembers) + `{}]}`, http.StatusBadRequest, "1025 members"},

		{"a bad start", http.MethodPost, SyncPath, `{"key_range":{"start":"0x"}}`, http.StatusBadRequest, "start is"},
		{"a bad end", http.MethodPost, SyncPath, `{"key_range":{"end":"-000000000000001"}}`, http.StatusBadRequest, "end is"},
		{"no range", http.MethodPost, SyncPath, `{"key_range":{"start":"0000000000000002","end":"0000000000000001"}}`, http.StatusBadRequest, "after its end"},
		{"a short root", http.MethodPost, SyncPath, `{"tree_root":"00"}`, http.StatusBadRequest, "32 hexadecimal digits"},
		{"a bad root", http.MethodPost, SyncPath, `{"tree_root":"` + strings.Repeat("g", 32) + `"}`, http.StatusBadRequest, `tree_root is "gggggggggggggggggggggggggggggggg"; 32 hexadecimal digits`},
		{"a list", http.MethodPost, SyncPath, `[]`, http.StatusBadRequest, "write it like"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &backend{}
			w := call(t, b, tt.method, tt.path, tt.body)
			var reply struct{ Error string }
			if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil {
				t.Fatalf("%v in %s", err, w.Body)
			}
			if w.Code != tt.status || !strings.Contains(reply.Error, tt.want) || !b.untouched() {
				t.Errorf("status %d, error %.300q, asked %v; want %d, %q, nobody", w.Code, reply.Error, b.asked, tt.status, tt.want)
			}
		})
	}
}

// TestErrorsAreShort: what is wrong with a text is said in a few words, however long the
// text is, which is its sender's choice.
func TestErrorsAreShort(t *testing.T) {
	long := strings.Repeat("\x7f", 8<<10) // a byte that takes five in an error that quotes it
	number := strings.Repeat("1", 8<<10)
	for path, bodies := range map[string][]string{
		GetPath: {
			`{"key":"` + long + `"}`, `{"key_base64":"` + long + `"}`, `{"key":` + number + `}`,
		},
		PutPath: {
			`{"key":"a","value":{"timestamp":"` + long + `"}}`, `{"key":"a","value":{"timestamp":` + number + `}}`,
			`{"key":"a","value":{"data":"` + long + `"}}`, `{"key":"a","value":{"write_id":"` + long + `"}}`,
			`{"key":"a","value":{"vector_clock":{"` + long + `":1}}}`, `{"key":"a","value":{"vector_clock":{"a~` + long + `":1}}}`,
			`{"key":"a","value":{"vector_clock":{"a":` + number + `}}}`, `{"key":"a","value":{"dot":{"actor":"~` + long + `"}}}`,
		},
		HintPath: {`{"original_node":"` + long + `"}`},
		GossipPath: {
			`{"from_node":"` + long + `"}`, `{"from_node":"n1","cluster":"` + long + `"}`,
			`{"from_node":"n1","members":[{"node_id":"` + long + `"}]}`,
			`{"from_node":"n1","members":[{"node_id":"a","address":"b","record":{"weight":1,"state":"` + long + `"}}]}`,
			`{"from_node":"n1","members":[{"node_id":"a","address":"b","record":{"weight":1,"state":"active","phase":"none","start":"` + long + `"}}]}`,
		},
		SyncPath: {
			`{"tree_root":"` + long + `"}`, `{"key_range":{"start":"` + long + `"}}`, `{"key_range":{"end":` + number + `}}`,
		},
	} {
		for _, body := range bodies {
			if w := post(t, &backend{}, path, body); w.Code != http.StatusBadRequest || w.Body.Len() > 1<<10 {
				t.Errorf("%s is answered with status %d and %d bytes: %.300s", path, w.Code, w.Body.Len(), w.Body)
			}
		}
	}
}

func TestNodesThatCannotAnswer(t *testing.T) {
	for code, status := range map[core.Code]int{
		core.CodeNotReady:   http.StatusServiceUnavailable,
		core.CodeOverloaded: http.StatusServiceUnavailable,
		core.CodeStopped:    http.StatusServiceUnavailable,
		core.CodeTimeout:    http.StatusGatewayTimeout,
		core.CodeQuorum:     http.StatusServiceUnavailable,
	} {
		for path, body := range map[string]string{
			GetPath:  `{"key":"a"}`,
			PutPath:  `{"key":"a",` + oneVersion + `}`,
			HintPath: `{"original_node":"n2","key":"a",` + oneVersion + `}`,
			SyncPath: `{}`,
		} {
			w := post(t, &backend{result: core.Result{Code: code}, code: code}, path, body)
			if w.Code != status || !strings.Contains(w.Body.String(), `"error":"`) {
				t.Errorf("%s: %v is answered with %d %s; want %d", path, code, w.Code, w.Body, status)
			}
		}
	}
}

// Bodies share a budget; past it a request is refused and may come again.
func TestBodiesAreBounded(t *testing.T) {
	h := NewHandler(&backend{result: core.Result{Code: core.CodeNotFound}}, slog.New(slog.DiscardHandler))
	if !h.bodies.bytes.TryAcquire(maxBodies) {
		t.Fatal("the budget is not whole to begin with")
	}
	ask := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.Routes()[GetPath].ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, GetPath, strings.NewReader(`{"key":"a"}`)))
		return w
	}
	if w := ask(); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("without room for a body: status %d: %s", w.Code, w.Body)
	}
	h.bodies.bytes.Release(maxBodies)
	for range 3 {
		if w := ask(); w.Code != http.StatusOK {
			t.Errorf("with room for it: status %d: %s", w.Code, w.Body)
		}
	}
	if !h.bodies.bytes.TryAcquire(maxBodies) {
		t.Error("bodies are not given back")
	}
}

// requireCorpus fails the fuzzer unless inputs for it are committed.
func requireCorpus(f *testing.F) {
	f.Helper()
	if seeds, err := os.ReadDir("testdata/fuzz/" + f.Name()); err != nil || len(seeds) == 0 {
		f.Fatalf("no committed corpus: %v", err)
	}
}

// FuzzParseGet: whatever comes in, a key that is let through has a length
// that is allowed.
func FuzzParseGet(f *testing.F) {
	requireCorpus(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		key, err := parseGet(body)
		if err == nil && (len(key) == 0 || len(key) > id.MaxKeyBytes) {
			t.Errorf("%q is let through with a key of %d bytes", body, len(key))
		}
		if err != nil && key != nil {
			t.Errorf("%q has a key beside the error %v", body, err)
		}
	})
}

// FuzzParsePut: what is let through holds the invariants of a set, has one form,
// and comes back as it was.
func FuzzParsePut(f *testing.F) {
	requireCorpus(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := parsePut(body)
		if err != nil {
			return
		}
		requireWhole(t, c)
		out, err := json.Marshal(PutRequest{Key: KeyOf(c.key), Versions: SetOf(c.set)})
		if err != nil {
			t.Fatal(err)
		}
		again, err := parsePut(out)
		if err != nil || string(again.key) != string(c.key) || !again.set.Equal(c.set) {
			t.Fatalf("%q comes back as %v: %v", body, again, err)
		}
	})
}

func requireWhole(t *testing.T, c change) {
	t.Helper()
	if len(c.key) == 0 || len(c.key) > id.MaxKeyBytes {
		t.Fatalf("a key of %d bytes", len(c.key))
	}
	if err := c.set.Validate(); err != nil {
		t.Fatal(err)
	}
	decoded, rest, err := version.DecodeSiblings(c.set.AppendBinary(nil))
	if err != nil || len(rest) > 0 || !decoded.Equal(c.set) {
		t.Fatalf("the set %v is not one that can be stored: %v", c.set, err)
	}
	if merged, err := version.Merge(c.set, c.set); err != nil || !merged.Equal(c.set) {
		t.Fatalf("merged with itself: %v, %v", merged, err)
	}
}

func FuzzParseHint(f *testing.F) {
	requireCorpus(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := parseHint(body)
		if err != nil {
			return
		}
		requireWhole(t, c)
		if _, err := id.ParseNode(string(c.original)); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzParseGossip: only whole gossip is let through.
func FuzzParseGossip(f *testing.F) {
	requireCorpus(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := parseGossip(body)
		if err != nil || len(q.members) == 0 {
			return
		}
		if q.cluster == 0 || !slices.ContainsFunc(q.members, func(m core.Member) bool { return m.ID == q.from }) {
			t.Fatalf("%q is let through as %+v", body, q)
		}
		for i := range q.members {
			m := memberOf(&q.members[i])
			if again, err := m.record(); err != nil || again != q.members[i] {
				t.Fatalf("member %d comes back as %+v: %v", i, again, err)
			}
		}
	})
}

func FuzzParseSync(f *testing.F) {
	requireCorpus(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := parseSync(body)
		if err != nil {
			return
		}
		if q.first > q.last {
			t.Fatalf("%q is let through as %x to %x", body, q.first, q.last)
		}
		if q.root != nil {
			if again, err := parseRoot(rootOf(*q.root)); err != nil || again != *q.root {
				t.Fatalf("the root %x comes back as %x: %v", *q.root, again, err)
			}
		}
	})
}

// pipe is a listener for one connection.
type pipe struct{ conns chan net.Conn }

func (p pipe) Accept() (net.Conn, error) {
	if conn, ok := <-p.conns; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (p pipe) Close() error   { return nil }
func (p pipe) Addr() net.Addr { return &net.TCPAddr{} }

// TestSlowCallers: a body has ten seconds to come, and an answer has as many to be
// taken.
func TestSlowCallers(t *testing.T) {
	const header = "POST " + GetPath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n"
	const chunked = "POST " + GetPath + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, tt := range []struct {
		name, request string
		reads         bool
		want          string
	}{
		{"a body that does not come", header + `{"key":`, true, `"error":"the body has not come in whole within 10s: 7 of its 11 bytes have; `},
		{"a chunk that does not come", chunked + "5\r\n{\"key\r\n", true, `"error":"the body has not come in whole within 10s: 5 of its bytes have; `},
		{"a body of another method that does not come", strings.Replace(header, "POST", "PUT", 1) + `{"key":`, true, "405 Method Not Allowed"},
		{"an answer that is not taken", header + `{"key":"a"}`, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				routes := NewHandler(&backend{result: core.Result{Code: core.CodeNotFound}}, slog.New(slog.DiscardHandler)).Routes()
				ended := make(chan time.Duration, 1)
				began := time.Now()
				server := &http.Server{
					Handler: routes[GetPath], ReadHeaderTimeout: time.Hour, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
					ConnState: func(_ net.Conn, state http.ConnState) {
						if state == http.StateClosed {
							ended <- time.Since(began)
						}
					},
				}
				conn, other := net.Pipe()
				l := pipe{make(chan net.Conn, 1)}
				l.conns <- other
				served := make(chan error, 1)
				go func() { served <- server.Serve(l) }()
				if _, err := io.WriteString(conn, tt.request); err != nil {
					t.Fatal(err)
				}
				if tt.reads {
					answer, err := io.ReadAll(conn)
					if err != nil || !strings.Contains(string(answer), tt.want) {
						t.Errorf("the answer is %q: %v", answer, err)
					}
				}
				if after := <-ended; after != 10*time.Second {
					t.Errorf("the connection ended after %v, want ten seconds", after)
				}
				close(l.conns)
				_ = conn.Close()
				if err := <-served; !errors.Is(err, net.ErrClosed) {
					t.Errorf("Serve: %v", err)
				}
			})
		})
	}
}

// TestPool: connections are kept for the next call, as many and as long as
// documented.
func TestPool(t *testing.T) {
	pool := NewClient(nil).pool
	if pool.MaxIdleConns != 100 || pool.MaxIdleConnsPerHost != 10 || pool.IdleConnTimeout != 90*time.Second || pool.DisableKeepAlives {
		t.Errorf("%d idle connections, %d to an address, for %v", pool.MaxIdleConns, pool.MaxIdleConnsPerHost, pool.IdleConnTimeout)
	}
}
