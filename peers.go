package dynamo

import (
	"errors"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/runtime"
	"github.com/dynamo-kv/dynamo/internal/transport"
	"github.com/dynamo-kv/dynamo/internal/transport/grpcstream"
	"github.com/dynamo-kv/dynamo/internal/transport/httpjson"
)

// peers is a node's connections to other nodes. It receives by both protocols,
// since every node chooses for itself by which one it sends.
type peers struct {
	grpc *grpcstream.Transport
	http *httpjson.Transport
	out  transport.Transport // one of the two
}

// newPeers returns transports that send by the one that the configuration names.
func (n *Node) newPeers(h runtime.Handler, mono func() time.Duration) (*peers, error) {
	p := new(peers)
	var err error
	if p.grpc, err = grpcstream.New(grpcstream.Options{
		Self: n.id, Handler: h, Mono: mono, Logger: n.logger, Dial: n.machine.dial, DialCredentials: n.dialCredentials(),
	}); err != nil {
		return nil, err
	}
	if p.http, err = httpjson.New(httpjson.Options{
		Self: n.id, Handler: h, Mono: mono, Logger: n.logger, Dial: n.machine.dial, TLS: n.cfg.TLS,
	}); err != nil {
		return nil, errors.Join(err, p.grpc.Close())
	}
	p.out = p.grpc
	if n.cfg.Transport == TransportHTTP {
		p.out = p.http
	}
	return p, nil
}

// Send queues e for the node at addr.
func (p *peers) Send(addr string, e *core.Envelope) bool { return p.out.Send(addr, e) }

// Reach ends the pause before addr is tried again.
func (p *peers) Reach(addr string) { p.out.Reach(addr) }

// Stats counts what was sent, and what came in by either protocol: other nodes
// choose for themselves, and whoever sends what is malformed may come by any.
func (p *peers) Stats() transport.Stats { return p.grpc.Stats().Plus(p.http.Stats()) }

// Close ends both transports.
func (p *peers) Close() error { return errors.Join(p.grpc.Close(), p.http.Close()) }
