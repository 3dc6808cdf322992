package httpjson

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// Backend is this node, by itself: the runtime. What it answers concerns its
// own copy and what it knows, and no quorum.
type Backend interface {
	// Do carries out a request of this node alone, OpInspect.
	Do(ctx context.Context, q *core.Request, timeout time.Duration) core.Result
	// Ask carries out a request that peers send each other by the very steps
	// that a peer's takes, and returns the reply once what it promises is
	// durable. Key is nil for Gossip. Without a reply the code says why.
	Ask(ctx context.Context, from id.Node, key []byte, m core.Message, timeout time.Duration) (core.Message, core.Code)
	// Sum sums up what the node holds of the positions first to last, and with
	// most above 0 lists the keys up to about as many, in the order of their
	// positions.
	Sum(ctx context.Context, first, last ring.Position, most int, timeout time.Duration) (core.RangeSum, core.Code)
	// Status returns what the node knows of its cluster, which nobody changes.
	Status() core.ClusterStatus
}

// Handler answers the requests of people, scripts and tests that ask one node
// by itself. It is safe for concurrent use.
type Handler struct {
	backend Backend
	bodies  budget
	logger  *slog.Logger
}

// NewHandler returns a handler of the paths in its Routes.
func NewHandler(b Backend, logger *slog.Logger) *Handler {
	return &Handler{backend: b, bodies: newBudget(), logger: logger}
}

// Routes returns what answers, by path.
func (h *Handler) Routes() map[string]http.Handler {
	return map[string]http.Handler{
		GetPath: route(h, maxKeyBody, parseGet, h.get, func(message string) any {
			return GetReply{Values: []Version{}, Clock: clockOf(version.Clock{}), Error: message}
		}),
		PutPath:    route(h, maxSetBody, parsePut, h.put, func(message string) any { return PutReply{Error: message} }),
		HintPath:   route(h, maxSetBody, parseHint, h.hint, func(message string) any { return HintReply{Error: message} }),
		GossipPath: route(h, maxGossipBody, parseGossip, h.gossip, func(message string) any { return GossipReply{Members: []Member{}, Error: message} }),
		SyncPath:   route(h, maxKeyBody, parseSync, h.sync, func(message string) any { return SyncReply{Differences: []string{}, Error: message} }),
	}
}

// answer is what a request comes back with.
type answer struct {
	status  int
	message string // of a failure
	body    any    // of a success
}

func done(body any) answer { return answer{status: http.StatusOK, body: body} }

// route returns the handler of one path: it reads a body of at most limit
// bytes, has it parsed and carried out, and writes the answer, of a failure in
// the shape that failing gives it.
func route[Q any](
	h *Handler, limit int64, parse func([]byte) (Q, error), do func(context.Context, Q) answer, failing func(string) any,
) http.Handler {
	fail := failAs(failing, h.logger)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !allow(w, r, http.MethodPost, fail) {
			return
		}
		raw, release, err := h.bodies.read(w, r, limit)
		if err != nil {
			refuseBody(w, err, fail)
			return
		}
		defer release()
		q, err := parse(raw)
		if err != nil {
			fail(w, http.StatusBadRequest, err.Error())
			return
		}
		a := do(r.Context(), q)
		switch a.status {
		case http.StatusOK:
			write(w, a.status, a.body, h.logger)
			return
		case http.StatusServiceUnavailable:
			w.Header().Set("Retry-After", "1")
		}
		fail(w, a.status, a.message)
	})
}

// decode decodes a body into q. Example shows what a request looks like.
func decode(raw []byte, q any, example string) error {
	if !utf8.Valid(raw) {
		return errors.New("the body is not UTF-8, which JSON is; give a key that is not UTF-8 as key_base64")
	}
	if n := bytes.Count(raw, []byte("{")) + bytes.Count(raw, []byte("[")); n > maxObjects {
		return fmt.Errorf("the body has %d objects and lists; at most %d are allowed", n, maxObjects)
	}
	if n := bytes.Count(raw, []byte(",")); n > maxValues {
		return fmt.Errorf("the body has %d values; at most %d are allowed", n, maxValues)
	}
	if err := json.Unmarshal(raw, q); err != nil {
		return fmt.Errorf(`the body is not a request: %w; write it like %s`, misfit(err), example)
	}
	return nil
}

// parseGet returns the key that is asked for.
func parseGet(raw []byte) ([]byte, error) {
	var q GetRequest
	if err := decode(raw, &q, `{"key": "cart"}`); err != nil {
		return nil, err
	}
	return q.bytes()
}

func (h *Handler) get(ctx context.Context, key []byte) answer {
	result := h.backend.Do(ctx, &core.Request{Op: core.OpInspect, Key: key}, localTimeout)
	if result.Code != core.CodeOK && result.Code != core.CodeNotFound {
		return failed(result.Code)
	}
	return done(GetReply{Values: versionsOf(result.Set), Clock: clockOf(result.Set.Clock)})
}

// failed returns the answer to a request that was not carried out, or not in
// time.
func failed(c core.Code) answer {
	switch c {
	case core.CodeTimeout:
		return answer{status: http.StatusGatewayTimeout, message: fmt.Sprintf("this node has not answered durably within %v", localTimeout)}
	case core.CodeNotReady:
		return unavailable("this node has no layout yet; its /health says what it waits for")
	case core.CodeOverloaded:
		return unavailable("this node has more requests than it can hold; try again later")
	case core.CodeStopped:
		return unavailable("this node stops")
	default:
		return unavailable("this node cannot answer now: " + c.String())
	}
}

func unavailable(message string) answer {
	return answer{status: http.StatusServiceUnavailable, message: message}
}

// change is what a put or a hint asks for, checked.
type change struct {
	original id.Node // of a hint
	key      []byte
	set      version.Siblings
}

const putExample = `{"key": "cart", "value": {"data": "bWlsaw==", "vector_clock": {}, "timestamp": "2026-11-26T10:00:00Z", "is_tombstone": false}}`

func parsePut(raw []byte) (change, error) {
	var q PutRequest
	if err := decode(raw, &q, putExample); err != nil {
		return change{}, err
	}
	return parseChange(&q.Key, &q.Versions)
}

func parseHint(raw []byte) (change, error) {
	var q HintRequest
	if err := decode(raw, &q, `{"original_node": "n2", `+putExample[1:]); err != nil {
		return change{}, err
	}
	original, err := id.ParseNode(q.OriginalNode)
	if err != nil {
		return change{}, fmt.Errorf("original_node: %w", err)
	}
	c, err := parseChange(&q.Key, &q.Versions)
	c.original = original
	return c, err
}

func parseChange(k *Key, v *Versions) (c change, err error) {
	if c.key, err = k.bytes(); err != nil {
		return change{}, err
	}
	if c.set, err = v.set(c.key); err != nil {
		return change{}, err
	}
	return c, nil
}

func (h *Handler) put(ctx context.Context, c change) answer {
	return h.store(ctx, c.key, &core.Apply{Key: c.key, Set: c.set}, PutReply{Success: true})
}

// hint keeps versions for another node. For this one they are a put.
func (h *Handler) hint(ctx context.Context, c change) answer {
	var m core.Message = &core.Hint{Key: c.key, Set: c.set, Owner: c.original}
	if c.original == h.backend.Status().Self {
		m = &core.Apply{Key: c.key, Set: c.set}
	}
	return h.store(ctx, c.key, m, HintReply{Success: true})
}

// store has the node store what a peer would send it, and answers with success
// once that is durable.
func (h *Handler) store(ctx context.Context, key []byte, m core.Message, success any) answer {
	reply, code := h.backend.Ask(ctx, h.backend.Status().Self, key, m, localTimeout)
	switch reply := reply.(type) {
	case *core.Applied, *core.Hinted:
		return done(success)
	case *core.Refused:
		return refused(reply.Why)
	}
	return failed(code)
}

// refused returns the answer to a request of which nothing was done.
func refused(why core.Refusal) answer {
	switch why {
	case core.RefusedInvalid:
		return answer{status: http.StatusConflict, message: "this node holds a version with the same dot and other bytes: " +
			"nothing was stored; give the version a dot of its own, or none"}
	case core.RefusedHintsFull:
		return unavailable("this node keeps as many bytes of hints as it may (MaxHintBytes): nothing was stored")
	case core.RefusedStorageFull:
		return answer{status: http.StatusInsufficientStorage, message: "this node has no room left: nothing was stored"}
	case core.RefusedOverloaded:
		return failed(core.CodeOverloaded)
	default:
		return unavailable("nothing was stored: " + why.String() + "; try again")
	}
}

// gossiped is what a GossipRequest says, checked.
type gossiped struct {
	from    id.Node
	cluster uint64
	members []core.Member // empty where not all have their records, or not the sender
}

func parseGossip(raw []byte) (gossiped, error) {
	var q GossipRequest
	if err := decode(raw, &q, `{"from_node": "n2", "members": []}`); err != nil {
		return gossiped{}, err
	}
	return q.check()
}

func (q *GossipRequest) check() (out gossiped, err error) {
	if out.from, err = id.ParseNode(q.FromNode); err != nil {
		return gossiped{}, fmt.Errorf("from_node: %w", err)
	}
	if out.cluster, err = parseDigits("cluster", q.Cluster, 0); err != nil {
		return gossiped{}, err
	}
	if len(q.Members) > id.MaxMembers {
		return gossiped{}, fmt.Errorf("%d members; at most %d are allowed", len(q.Members), id.MaxMembers)
	}
	whole, own := out.cluster != 0, false
	for i := range q.Members {
		m := &q.Members[i]
		if _, err := id.ParseNode(m.NodeID); err != nil {
			return gossiped{}, fmt.Errorf("member %d of %d: node_id: %w", i+1, len(q.Members), err)
		}
		if m.Record == nil {
			whole = false
			continue
		}
		rec, err := m.record()
		if err != nil {
			return gossiped{}, err
		}
		own = own || rec.ID == out.from
		out.members = append(out.members, rec)
	}
	if !whole || !own {
		out.members = nil
	}
	return out, nil
}

// gossip answers with the members that this node knows. What it is told it
// takes in as from any node, by the same step, where that is all there: records
// that lack a part would stand for members that do not exist so.
func (h *Handler) gossip(ctx context.Context, q gossiped) answer {
	st := h.backend.Status()
	if q.cluster != 0 && q.cluster != st.Cluster {
		return answer{status: http.StatusConflict, message: fmt.Sprintf("node %s is in cluster %q, and not in %s", st.Self, clusterOf(&st), digits(q.cluster))}
	}
	if len(q.members) > 0 {
		m := &core.Gossip{State: core.GossipState{Cluster: q.cluster, Members: q.members}}
		if _, code := h.backend.Ask(ctx, q.from, nil, m, localTimeout); code != core.CodeOK {
			return failed(code)
		}
		st = h.backend.Status()
	}
	return done(GossipReply{Cluster: clusterOf(&st), Members: membersOf(&st, time.Now()), Merged: len(q.members) > 0})
}

// clusterOf returns the cluster's name, which is empty before there is one.
func clusterOf(st *core.ClusterStatus) string {
	if st.Cluster == 0 {
		return ""
	}
	return digits(st.Cluster)
}

// compared is what a SyncRequest asks for, checked.
type compared struct {
	first, last ring.Position
	root        *core.TreeHash // nil: nothing is compared
}

func parseSync(raw []byte) (compared, error) {
	var q SyncRequest
	if err := decode(raw, &q, `{"key_range": {"start": "0000000000000000", "end": "ffffffffffffffff"}, "tree_root": ""}`); err != nil {
		return compared{}, err
	}
	return q.check()
}

func (q *SyncRequest) check() (compared, error) {
	first, err := parseDigits("start", q.KeyRange.Start, 0)
	if err != nil {
		return compared{}, err
	}
	last, err := parseDigits("end", q.KeyRange.End, ^uint64(0))
	if err != nil {
		return compared{}, err
	}
	if first > last {
		return compared{}, fmt.Errorf("the range starts at %s, which is after its end %s", digits(first), digits(last))
	}
	out := compared{first: ring.Position(first), last: ring.Position(last)}
	if q.TreeRoot != "" {
		root, err := parseRoot(q.TreeRoot)
		if err != nil {
			return compared{}, err
		}
		out.root = &root
	}
	return out, nil
}

// rootOf returns a sum as 32 hexadecimal digits, the high half first.
func rootOf(h core.TreeHash) string { return digits(h[1]) + digits(h[0]) }

func parseRoot(s string) (h core.TreeHash, err error) {
	if len(s) != 32 {
		return h, fmt.Errorf("tree_root has %d characters; 32 hexadecimal digits are allowed, or none", len(s))
	}
	for i, half := range []string{s[16:], s[:16]} {
		if h[i], err = strconv.ParseUint(half, 16, 64); err != nil {
			return core.TreeHash{}, fmt.Errorf("tree_root is %q; 32 hexadecimal digits are allowed, or none", s)
		}
	}
	return h, nil
}

// sync answers with the hash of what the node holds of a range and, if that is
// not the caller's, with the keys.
func (h *Handler) sync(ctx context.Context, q compared) answer {
	reply := SyncReply{Differences: []string{}}
	sum, code := h.backend.Sum(ctx, q.first, q.last, 0, localTimeout)
	if code == core.CodeOK && q.root != nil && sum.Sum != *q.root {
		var listed core.RangeSum
		listed, code = h.backend.Sum(ctx, q.first, q.last, maxSyncKeys, localTimeout)
		reply.list(&listed)
	}
	if code != core.CodeOK {
		return failed(code)
	}
	reply.TreeRoot = rootOf(sum.Sum)
	return done(reply)
}

// list takes over the keys. Where there are more of them, those at the last
// position are left to the next answer, which begins there.
func (r *SyncReply) list(sum *core.RangeSum) {
	keys := sum.Keys
	if sum.More && len(keys) > 0 {
		next := ring.Hash(keys[len(keys)-1])
		for len(keys) > 0 && ring.Hash(keys[len(keys)-1]) == next {
			keys = keys[:len(keys)-1]
		}
		r.Next = digits(uint64(next))
	}
	for _, key := range keys {
		if isText(key) {
			r.Differences = append(r.Differences, string(key))
		} else {
			r.DifferencesBase64 = append(r.DifferencesBase64, base64.StdEncoding.EncodeToString(key))
		}
	}
}
