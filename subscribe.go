package dynamo

import (
	"context"
	"iter"
	"time"
)

// StatusChange is a change of what a node thinks of another one's health.
type StatusChange struct {
	Member string // the other node's ID
	// From and To are as in [Member]: alive, suspected or dead. From is none
	// where the member has just become known, and To where it has left.
	From, To string
	Time     time.Time // when the node came to think so
	// Missed is how many changes were dropped right before this one, since the
	// caller was too slow: [Node.Status] then has what it has missed.
	Missed int
}

// Subscribe returns the changes of the health of the other nodes from now on,
// as this node sees it: an opinion, which other nodes need not share.
//
//	changes, err := node.Subscribe(ctx)
//	if err != nil {
//		return err
//	}
//	for change := range changes {
//		log.Print(change.Member, " is ", change.To)
//	}
//
// The loop waits for the next change, and ends when ctx does or when the node
// has stopped; what has changed before the stop still comes. A loop that was
// left can be taken up by another one. The node never waits for the loop: up
// to 1024 changes wait for it, past that the oldest are dropped, and
// StatusChange.Missed says how many. Subscribe first and call [Node.Status]
// then for the state to begin with; a change may show in both.
//
// Each call is a subscription of its own; end its ctx when it is not needed any
// more. The error is ErrNotReady before Start, and ErrStopped after Stop.
func (n *Node) Subscribe(ctx context.Context) (iter.Seq[StatusChange], error) {
	p, e := n.running("subscribe")
	if e != nil {
		return nil, e
	}
	watch := p.runtime.Watch()
	context.AfterFunc(ctx, watch.Close)
	return func(yield func(StatusChange) bool) {
		for {
			c, missed, ok := watch.Next(ctx)
			if !ok {
				if p = n.successor(ctx, p); p == nil {
					return
				}
				watch = p.runtime.Watch()
				context.AfterFunc(ctx, watch.Close)
				continue
			}
			change := StatusChange{
				Member: string(c.Peer), From: c.From.String(), To: c.To.String(), Time: c.Time, Missed: missed,
			}
			if !yield(change) {
				return
			}
		}
	}, nil
}

// successor waits for the parts that take the place of p, which have stopped;
// nil where the node has stopped, or ctx ends.
func (n *Node) successor(ctx context.Context, p *parts) *parts {
	select {
	case <-p.replaced:
		return n.parts.Load()
	case <-n.done:
	case <-ctx.Done():
	}
	return nil
}
