package node

import "github.com/dynamo-kv/dynamo/internal/core"

// inspect answers with this node's own copy of a key, once it is durable.
func (s *Shard) inspect(r *core.Request, out *core.Out) {
	set, flush := s.replica.Read(r.Key, out)
	result := core.Result{Code: core.CodeOK, Set: set, Context: set.Clock}
	if set.IsEmpty() {
		result.Code = core.CodeNotFound
	}
	inspected(r, result, flush, out)
}

// inspectHint answers with what this node keeps of a key for others, likewise.
func (s *Shard) inspectHint(r *core.Request, out *core.Out) {
	if s.view.ReadLayout() == nil {
		inspected(r, core.Result{Code: core.CodeNotReady}, 0, out)
		return
	}
	hint, flush := s.replica.InspectHint(r.Key, out)
	result := core.Result{Code: core.CodeOK, Hint: hint}
	if hint == nil {
		result.Code = core.CodeNotFound
	}
	inspected(r, result, flush, out)
}

func inspected(r *core.Request, result core.Result, flush uint64, out *core.Out) {
	if out.Failed != nil {
		return
	}
	reply := core.Reply{Req: r.Req, Result: result}
	if flush != 0 {
		out.RepliesHeld = append(out.RepliesHeld, reply)
	} else {
		out.Replies = append(out.Replies, reply)
	}
}
