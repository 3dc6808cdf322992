package dynamo

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/kv"
	"github.com/dynamo-kv/dynamo/internal/server"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// Version is one value of a key: its Data, the caller's own copy, the
// VectorClock of the writes that it had seen, and the Timestamp of the wall
// clock of the node that took it, which decides nothing.
type Version = kv.Version

// GetResult is what a read found. Values are the siblings: those that no other
// value has replaced. There is mostly one; there are several after writes that
// had not seen each other; equal bytes are listed once. Context covers all of
// them: a write that has it replaces them. Quorum says who answered.
type GetResult = kv.GetResult

// Put stores value under key and returns a context that covers it. c is the
// context of what the caller has seen of the key and wants to replace. With a
// nil context the value becomes a sibling of whatever is there; with
// [Overwrite] it replaces what the coordinating node has stored. The context
// that is returned covers what c covered and the new value.
//
// An error says in its Outcome whether the value may yet appear.
func (n *Node) Put(ctx context.Context, key string, value []byte, c *Context, options ...Option) (*Context, error) {
	r := n.request(core.OpPut, key, c, options)
	r.Value = bytes.Clone(value)
	return n.write(ctx, r)
}

// Delete deletes what c covers, or with a nil c and [Overwrite] whatever is
// stored. A value that was written meanwhile and that c does not cover stays.
// Deleting a key that does not exist is no error.
func (n *Node) Delete(ctx context.Context, key string, c *Context, options ...Option) (*Context, error) {
	return n.write(ctx, n.request(core.OpDelete, key, c, options))
}

// Get reads key. Where it finds nothing, the error is ErrKeyNotFound and the
// result is not nil: its context covers the deletes that were found.
func (n *Node) Get(ctx context.Context, key string, options ...Option) (*GetResult, error) {
	r := n.request(core.OpGet, key, nil, options)
	result, err := n.do(ctx, r)
	if err != nil && !errors.Is(err, ErrKeyNotFound) {
		return nil, err
	}
	return resultOf(r.Key, result), err
}

// request returns the request that the arguments make; what is wrong with it
// is in its err.
func (n *Node) request(op core.Op, key string, c *Context, options []Option) *request {
	r := &request{limits: n.limits(), timeout: n.cfg.RequestTimeout}
	r.Op, r.Key = op, []byte(key)
	if c != nil {
		clock, err := server.BindContext(kv.Inner(c), r.Key)
		r.keep(err)
		r.Context, r.HasContext = clock, true
	}
	for _, o := range options {
		o(r)
	}
	return r
}

func (n *Node) write(ctx context.Context, r *request) (*Context, error) {
	result, err := n.do(ctx, r)
	if err != nil {
		return nil, err
	}
	return kv.NewContext(version.NewContext(r.Key, result.Context)), nil
}

// do checks and carries out a request.
func (n *Node) do(ctx context.Context, r *request) (core.Result, error) {
	r.keep(r.limits.Check(&r.Request))
	if r.err != nil {
		return core.Result{}, refused(r.Op, r.err)
	}
	p, err := n.running(r.Op.String())
	if err != nil {
		if r.Op != core.OpGet {
			err.Outcome = NotWritten
		}
		return core.Result{}, err
	}
	end := n.trace(ctx, &r.Request)
	result := p.runtime.Do(ctx, &r.Request, within(ctx, r.timeout))
	if end != nil {
		end(result)
	}
	if r.met != nil {
		*r.met = metBy(r.Op, result)
	}
	if e := failed(ctx, r.Op, result); e != nil {
		if result.Code == core.CodeStopped {
			e.Cause = n.Err()
		}
		return result, e
	}
	if r.Op == core.OpGet && len(result.Set.Live()) == 0 {
		return result, &Error{Op: r.Op.String(), Kind: ErrKeyNotFound}
	}
	return result, nil
}

// maxMargin is how long before its context's deadline a request ends at most,
// so that its own answer, which knows how far it came, is the one that is
// heard.
const maxMargin = 5 * time.Millisecond

// within returns the time that a request has: timeout, or what is left of
// ctx, less a margin.
func within(ctx context.Context, timeout time.Duration) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return timeout
	}
	left := time.Until(deadline)
	return min(timeout, left-min(maxMargin, left/10))
}

func resultOf(key []byte, r core.Result) *GetResult {
	var few [2]server.Shown // most keys have one value
	shown := server.Show(few[:0], r.Set)
	out := &GetResult{
		Values:  make([]Version, len(shown)),
		Context: kv.NewContext(version.NewContext(key, r.Context)),
		Quorum:  metBy(core.OpGet, r),
	}
	for i, v := range shown {
		out.Values[i] = Version{
			Data:        bytes.Clone(v.Data),
			VectorClock: kv.NewVectorClock(v.Clock),
			Timestamp:   time.Unix(0, v.Timestamp).UTC(),
		}
	}
	return out
}

func metBy(op core.Op, r core.Result) QuorumMet {
	met := QuorumMet{Replicas: r.Acknowledged, Required: r.Required}
	if op == core.OpGet {
		met.Fallbacks = r.Fallbacks
	} else {
		met.Hinted = r.Fallbacks
	}
	return met
}
