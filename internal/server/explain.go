package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// explainPrefix is what stands before a key that is to be explained.
const explainPrefix = "/v1/explain/"

const (
	// maxFallbacks bounds the fallbacks that are asked for what they keep of a
	// key: writes go to the first that can be reached, and that so many are
	// away at once is a rare day.
	maxFallbacks = 16

	// maxExplains bounds the keys that are explained at the same time: each asks
	// many nodes, and people do not ask faster.
	maxExplains = 4

	// maxCopy bounds a node's answer about its own copy, in bytes: 100
	// siblings with clocks of 1000 entries of some 60 bytes each.
	maxCopy = 8 << 20
)

// explainJSON is the body of /v1/explain/{key}: where the key belongs, and
// what is held of it there.
type explainJSON struct {
	Key       string `json:"key,omitempty"`
	KeyBase64 []byte `json:"key_base64,omitempty"` // of a key that is not UTF-8
	Node      string `json:"node"`                 // that was asked
	Position  string `json:"position"`             // on the ring: 16 hexadecimal digits
	Partition int    `json:"partition"`
	// Layouts are those that are live, the oldest first: two while partitions
	// are on their way.
	Layouts []placesJSON `json:"layouts"`
	Phase   string       `json:"phase"`
	// Equal says that all owners that reads ask have answered, and hold the
	// same.
	Equal bool       `json:"equal"`
	Nodes []heldJSON `json:"nodes"` // in the order of the preference list
}

// placesJSON says whose the partition is in one layout.
type placesJSON struct {
	Version uint64    `json:"version"`
	Name    string    `json:"name"` // number and digest
	Owners  []id.Node `json:"owners"`
}

// heldJSON is what one node holds of the key.
type heldJSON struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	// Role is what the node is to the key: owner, incoming and outgoing during
	// a transition, fallback.
	Role   string `json:"role"`
	Status string `json:"status"`          // the asked node's opinion
	Error  string `json:"error,omitempty"` // why there is no answer
	// Held is its answer.
	Held *copyJSON `json:"held,omitempty"`
}

// copyJSON is a node's own word about a key. Values do not leave it.
type copyJSON struct {
	Layout string  `json:"layout"` // that the node goes by: number and digest
	Phase  string  `json:"phase"`
	Copy   setJSON `json:"copy"`
	// Hint is what the node keeps of the key for others; absent where that is
	// nothing.
	Hint *hintJSON `json:"hint,omitempty"`
}

type hintJSON struct {
	Owners []hintOwnerJSON `json:"owners"`
	Kept   setJSON         `json:"kept"`
}

// hintOwnerJSON is an owner that missed a write. Data says that what it missed
// is kept; else the node has it in its own copy, and has noted that.
type hintOwnerJSON struct {
	ID    string    `json:"id"`
	Data  bool      `json:"data"`
	Since time.Time `json:"since,omitzero"` // of a note
}

// setJSON is a sibling set without its values.
type setJSON struct {
	Siblings []siblingJSON     `json:"siblings"` // tombstones included; empty where nothing is held
	Clock    map[string]uint64 `json:"clock"`
	Dots     []dotJSON         `json:"dots,omitempty"`   // that the clock covers one by one
	Digest   string            `json:"digest,omitempty"` // of all of it, values included
}

type siblingJSON struct {
	Dot       dotJSON           `json:"dot"`
	Clock     map[string]uint64 `json:"clock"` // the largest that covers no other sibling
	Timestamp time.Time         `json:"timestamp"`
	Tombstone bool              `json:"tombstone"`
	Bytes     int               `json:"bytes"`
	WriteID   string            `json:"write_id,omitempty"`
}

type dotJSON struct {
	Actor   string `json:"actor"` // node~epoch
	Counter uint64 `json:"counter"`
}

// explain answers a request for /v1/explain/{key}: with ?own=true for this
// node's own copy alone, else for those of all nodes that matter.
func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	if !isRead(r.Method) {
		s.notAllowed(w, r, "GET, HEAD")
		return
	}
	key, own, timeout, err := s.parseExplain(r)
	if err != nil {
		s.fail(w, r, refusal(core.OpGet, err))
		return
	}
	st := s.backend.Status()
	view := core.View{Layouts: st.Layouts}
	l := view.ReadLayout()
	if l == nil {
		s.fail(w, r, failed(core.OpGet, core.Result{Code: core.CodeNotReady}))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	if own {
		c, code := s.ownCopy(ctx, &st, key, timeout)
		if code != core.CodeOK {
			s.fail(w, r, failed(core.OpGet, core.Result{Code: code}))
			return
		}
		s.writeJSON(w, http.StatusOK, c)
		return
	}
	if !s.explains.TryAcquire(1) {
		s.fail(w, r, failed(core.OpGet, core.Result{Code: core.CodeOverloaded}))
		return
	}
	defer s.explains.Release(1)
	out := placed(&st, l, key)
	s.ask(ctx, &st, out, question{key: key, timeout: timeout, requestID: w.Header().Get(HeaderRequestID)})
	out.Equal = equalOwners(out.Nodes)
	s.writeJSON(w, http.StatusOK, out)
}

func (s *Server) parseExplain(r *http.Request) (key []byte, own bool, timeout time.Duration, err error) {
	if key, err = unescapeKey(strings.TrimPrefix(r.URL.EscapedPath(), explainPrefix)); err != nil {
		return nil, false, 0, err
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, false, 0, invalidf("the query is malformed: %v", err)
	}
	timeout = s.limits.Timeout
	for name, given := range values { // order does not matter: any fault is reported
		switch {
		case len(given) > 1:
			return nil, false, 0, invalidf("the query parameter %s stands %d times; give it once", name, len(given))
		case name == "timeout":
			timeout, err = parseTimeout(given[0])
		case name == "own":
			own = given[0] == "true"
			if !own && given[0] != "false" {
				err = invalidf("own is %q; true and false are allowed", given[0])
			}
		default:
			err = invalidf("the query parameter %q is not known; own and timeout are", name)
		}
		if err != nil {
			return nil, false, 0, err
		}
	}
	return key, own, timeout, nil
}

// placed says where a key belongs and who is to be asked about it.
func placed(st *core.ClusterStatus, read *ring.Layout, key []byte) *explainJSON {
	live := st.Layouts.Live
	newest := live[len(live)-1]
	p := newest.Partition(key)
	out := &explainJSON{
		Node: string(st.Self), Position: fmt.Sprintf("%016x", uint64(ring.Hash(key))), Partition: int(p),
		Phase: st.Layouts.Phase.String(),
	}
	if utf8.Valid(key) {
		out.Key = string(key)
	} else {
		out.KeyBase64 = key
	}
	for _, l := range live {
		out.Layouts = append(out.Layouts, placesJSON{Version: l.Name().Number, Name: l.Name().String(), Owners: l.Owners(p)})
	}
	out.add(st, "owner", read.Owners(p))
	out.add(st, "outgoing", live[0].Owners(p))
	out.add(st, "incoming", newest.Owners(p))
	out.add(st, "fallback", newest.AppendPreference(nil, p, newest.OwnerCount()+maxFallbacks))
	return out
}

// add appends those of the nodes that are not there yet.
func (e *explainJSON) add(st *core.ClusterStatus, role string, nodes []id.Node) {
	for _, n := range nodes {
		if slices.ContainsFunc(e.Nodes, func(h heldJSON) bool { return h.ID == string(n) }) {
			continue
		}
		held := heldJSON{ID: string(n), Role: role, Status: core.NoStatus.String()}
		for i := range st.Members {
			if m := &st.Members[i]; m.ID == n {
				held.Address, held.Status = m.Addr, m.Status.String()
			}
		}
		e.Nodes = append(e.Nodes, held)
	}
}

// question is what all nodes are asked.
type question struct {
	key       []byte
	timeout   time.Duration
	requestID string
}

// ask fills in what each node holds, asking all at once: at most twice the
// owners and maxFallbacks. A dead one may be alive after all, so all are asked.
func (s *Server) ask(ctx context.Context, st *core.ClusterStatus, out *explainJSON, q question) {
	var asked sync.WaitGroup
	for i := range out.Nodes {
		held := &out.Nodes[i]
		if held.ID != string(st.Self) {
			asked.Go(func() {
				var err error
				if held.Held, err = s.fetch(ctx, held.Address, q); err != nil {
					held.Error = err.Error()
				}
			})
			continue
		}
		asked.Go(func() {
			var code core.Code
			if held.Held, code = s.ownCopy(ctx, st, q.key, q.timeout); code != core.CodeOK {
				held.Error = Explain(core.OpGet, core.Result{Code: code})
			}
		})
	}
	asked.Wait()
}

// ownCopy returns what this node holds. The code says why it does not.
func (s *Server) ownCopy(ctx context.Context, st *core.ClusterStatus, key []byte, timeout time.Duration) (*copyJSON, core.Code) {
	own := s.backend.Do(ctx, &core.Request{Op: core.OpInspect, Key: key}, timeout)
	if own.Code != core.CodeOK && own.Code != core.CodeNotFound {
		return nil, own.Code
	}
	hint := s.backend.Do(ctx, &core.Request{Op: core.OpInspectHint, Key: key}, timeout)
	if hint.Code != core.CodeOK && hint.Code != core.CodeNotFound {
		return nil, hint.Code
	}
	out := &copyJSON{
		Layout: st.Layouts.Stamp().Layout.String(), Phase: st.Layouts.Phase.String(),
		Copy: setOf(own.Set),
	}
	if hint.Hint != nil {
		out.Hint = hintOf(hint.Hint)
	}
	return out, core.CodeOK
}

// fetch asks another node for its own copy.
func (s *Server) fetch(ctx context.Context, addr string, q question) (*copyJSON, error) {
	if addr == "" {
		return nil, errors.New("its address is not known here")
	}
	u := url.URL{
		Scheme: "http", Host: addr,
		Path: explainPrefix + string(q.key), RawPath: explainPrefix + url.PathEscape(string(q.key)),
		RawQuery: url.Values{"own": {"true"}, "timeout": {q.timeout.String()}}.Encode(),
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr, http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header.Set(HeaderRequestID, q.requestID)
	r.URL = &u // as it is: parsing it again would change some keys
	resp, err := s.peers.Do(r)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("no answer within %v", q.timeout)
	case err != nil:
		if unusable, ok := errors.AsType[*url.Error](err); ok {
			err = unusable.Err // without the URL, which has the key in it
		}
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxCopy))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		var said struct{ Error failure }
		if json.Unmarshal(body, &said) == nil && said.Error.Message != "" {
			return nil, errors.New(said.Error.Message)
		}
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	out := new(copyJSON)
	if err := json.Unmarshal(body, out); err != nil {
		return nil, fmt.Errorf("its answer cannot be read: %w", err)
	}
	return out, nil
}

// equalOwners says whether all owners have answered with the same set.
func equalOwners(nodes []heldJSON) bool {
	first := ""
	for i := range nodes {
		if nodes[i].Role != "owner" {
			continue
		}
		if nodes[i].Held == nil || i > 0 && nodes[i].Held.Copy.Digest != first {
			return false
		}
		first = nodes[i].Held.Copy.Digest
	}
	return true
}

func setOf(set version.Siblings) setJSON {
	out := setJSON{Siblings: make([]siblingJSON, len(set.Versions)), Clock: vectorOf(set.Clock)}
	for _, d := range set.Clock.Dots() {
		out.Dots = append(out.Dots, dotOf(d))
	}
	if !set.IsEmpty() {
		out.Digest = fmt.Sprintf("%016x", xxhash.Sum64(set.AppendBinary(nil)))
	}
	for i := range set.Versions {
		v := &set.Versions[i]
		out.Siblings[i] = siblingJSON{
			Dot: dotOf(v.Dot), Clock: vectorOf(set.ClockOf(i)), Timestamp: time.Unix(0, v.Timestamp).UTC(),
			Tombstone: v.Tombstone, Bytes: len(v.Data),
		}
		if !v.WriteID.IsZero() {
			out.Siblings[i].WriteID = v.WriteID.String()
		}
	}
	return out
}

func hintOf(h *core.HintItem) *hintJSON {
	out := &hintJSON{Owners: make([]hintOwnerJSON, len(h.Owners)), Kept: setOf(h.Set)}
	for i, o := range h.Owners {
		out.Owners[i] = hintOwnerJSON{ID: string(o.Node), Data: o.Data}
		if o.Since != 0 {
			out.Owners[i].Since = time.Unix(0, o.Since).UTC()
		}
	}
	return out
}

func vectorOf(c version.Clock) map[string]uint64 {
	out := make(map[string]uint64, len(c.Vector()))
	for _, d := range c.Vector() {
		out[d.Actor.String()] = d.Counter
	}
	return out
}

func dotOf(d version.Dot) dotJSON { return dotJSON{Actor: d.Actor.String(), Counter: d.Counter} }
