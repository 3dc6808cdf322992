package client

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"time"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/kv"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// Put stores value under key and returns a context that covers it. seen is the
// context of what the caller has seen of the key and wants to replace. With a
// nil context the value becomes a sibling of whatever is there; with
// [Overwrite] it replaces what the coordinating node has stored.
//
// An error says in its Outcome whether the value may yet appear.
func (c *Client) Put(ctx context.Context, key string, value []byte, seen *Context, options ...Option) (*Context, error) {
	r := c.newRequest(opPut, key, seen, options)
	r.value = bytes.Clone(value)
	return c.write(ctx, r)
}

// Delete deletes what seen covers, or with a nil context and [Overwrite]
// whatever is stored. A value that was written meanwhile and that seen does not
// cover stays. Deleting a key that does not exist is no error.
func (c *Client) Delete(ctx context.Context, key string, seen *Context, options ...Option) (*Context, error) {
	return c.write(ctx, c.newRequest(opDelete, key, seen, options))
}

// Get reads key. Where it finds nothing, the error is ErrKeyNotFound and the
// result is not nil: its context covers the deletes that were found.
func (c *Client) Get(ctx context.Context, key string, options ...Option) (*GetResult, error) {
	r := c.newRequest(opGet, key, nil, options)
	defer c.recycle(r)
	reply, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	result, err := resultOf(r.key, reply.GetGot())
	if err != nil {
		return nil, malformed(r, err)
	}
	if r.met != nil {
		*r.met = result.Quorum
	}
	if len(result.Values) == 0 {
		return result, &Error{Op: r.op.String(), Kind: ErrKeyNotFound, RequestID: r.requestID}
	}
	return result, nil
}

func (c *Client) write(ctx context.Context, r *request) (*Context, error) {
	defer c.recycle(r)
	if r.writeID.IsZero() {
		_, _ = crand.Read(r.writeID[:]) // it never fails: the process ends where there is no randomness
	}
	reply, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	w := reply.GetWritten()
	if r.met != nil {
		*r.met = QuorumMet{Replicas: int(w.GetReplicas()), Hinted: int(w.GetHinted()), Required: int(w.GetRequired())}
	}
	seen, err := version.DecodeContext(w.GetContext())
	if err != nil {
		return nil, malformed(r, err)
	}
	return kv.NewContext(seen), nil
}

// newRequest returns the request that the arguments make; what is wrong with
// it is in its err.
func (c *Client) newRequest(o op, key string, seen *Context, options []Option) *request {
	r := c.requests.Get().(*request)
	r.op, r.key, r.timeout = o, append(r.key, key...), c.cfg.Timeout
	if seen != nil {
		r.context = kv.Inner(seen).AppendBinary(r.context)
	}
	for _, option := range options {
		option(r)
	}
	return r
}

// recycle lets the request be used again, unless an attempt of it is still
// under way.
func (c *Client) recycle(r *request) {
	if r.open > 0 {
		r.gone.Store(true)
		return
	}
	clear(r.tried)
	*r = request{answers: r.answers, timer: r.timer, key: r.key[:0], context: r.context[:0], tried: r.tried[:0]}
	c.requests.Put(r)
}

// resultOf returns what a node has found of a key.
func resultOf(key []byte, m *dynamov1.GetReply) (*GetResult, error) {
	out := &GetResult{
		Values: make([]Version, len(m.GetValues())),
		Quorum: QuorumMet{Replicas: int(m.GetReplicas()), Fallbacks: int(m.GetFallbacks()), Required: int(m.GetRequired())},
	}
	seen := version.NewContext(key, version.Clock{}) // of a key that was never written
	if b := m.GetContext(); len(b) > 0 {
		var err error
		if seen, err = version.DecodeContext(b); err != nil {
			return nil, err
		}
	}
	out.Context = kv.NewContext(seen)
	for i, v := range m.GetValues() {
		clock, _, err := version.DecodeClock(v.GetClock())
		if err != nil {
			return nil, err
		}
		data := v.GetData()
		if data == nil {
			data = []byte{}
		}
		out.Values[i] = Version{Data: data, VectorClock: kv.NewVectorClock(clock), Timestamp: time.Unix(0, v.GetTimestamp()).UTC()}
	}
	return out, nil
}
