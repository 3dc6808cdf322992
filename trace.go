package dynamo

import (
	"context"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/server"
	"github.com/dynamo-kv/dynamo/internal/tracing"
)

// openTracer begins to export traces, if that is configured.
func (n *Node) openTracer(p *parts) error {
	c := n.cfg.Tracing
	if c.Endpoint == "" {
		return nil
	}
	t, err := tracing.New(tracing.Options{
		Node: string(n.id), Endpoint: c.Endpoint, SampleRatio: c.SampleRatio, Logger: n.logger,
	})
	p.tracer = t
	return err
}

func (p *parts) closeTracer() {
	if p.tracer != nil {
		p.tracer.Close()
	}
}

// edge returns what begins the traces of HTTP requests; nil: nothing does.
func (p *parts) edge() server.Tracer {
	if p.tracer == nil {
		return nil
	}
	return p.tracer
}

// trace begins the trace of a request of the embedding program, and returns
// what ends it; nil: the node does not trace.
func (n *Node) trace(ctx context.Context, q *core.Request) (end func(core.Result)) {
	p := n.parts.Load()
	if p == nil || p.tracer == nil {
		return nil
	}
	q.Trace, end = p.tracer.Begin(ctx, q.Op, "", "")
	return end
}
