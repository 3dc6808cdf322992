package client

import (
	"math"
	"time"

	"github.com/dynamo-kv/dynamo/internal/backoff"
	"github.com/dynamo-kv/dynamo/internal/id"
)

const (
	// maxQueued bounds the requests that wait for one connection: twice what a
	// node lets be under way on it. Past it the client is overloaded.
	maxQueued = 8192

	// maxRequests and maxRequestBytes bound one message of requests: past them
	// the cost of a message is shared by so many that a larger one gains
	// nothing. A request that is larger leaves alone.
	maxRequests     = 1024
	maxRequestBytes = 256 << 10

	// maxOpen bounds the nodes that have been asked for one request and have not
	// answered: beyond N there is nobody left who would know more.
	maxOpen = 4

	// maxReplyBytes bounds one message of a node: the largest sibling set.
	maxReplyBytes = id.MaxMessageBytes

	// maxNodes and maxPartitions bound a topology.
	maxNodes      = 2 * id.MaxMembers
	maxPartitions = id.MaxPartitions

	// connectTimeout is the time for a connection and its handshakes: several
	// round trips around the world.
	connectTimeout = 5 * time.Second

	// A connection that shows no life is given up: after pingAfter of silence a
	// ping is sent, and pingTimeout later the connection is closed.
	pingAfter   = 10 * time.Second // gRPC allows no less
	pingTimeout = 5 * time.Second

	// ioBuffer is the size of a connection's read and write buffers.
	ioBuffer = 64 << 10

	// window is how much a node may have sent that has not been read.
	window = 4 << 20

	// repetitionWait is how long a request waits that nobody answers, when others
	// are being repeated as often as may be: those that end soon earn more. All
	// requests to a node that stands still are late at once.
	repetitionWait = 50 * time.Millisecond

	// A request tells its node that it ends a little before it does, so that
	// the node's own answer, which knows how far it came, is the one that is
	// heard: by maxMargin, or a tenth of a shorter time.
	maxMargin = 5 * time.Millisecond
)

// reconnect returns when to try again to connect: soon, so that a node that
// has restarted is used quickly, and never less often than each second.
func reconnect() backoff.Policy {
	return backoff.Policy{Retries: math.MaxInt, Base: 50 * time.Millisecond, Factor: 2, Max: time.Second, Jitter: 0.2}
}

// relief returns when to ask again where nodes are overloaded.
func relief() backoff.Policy {
	return backoff.Policy{Retries: math.MaxInt, Base: 20 * time.Millisecond, Factor: 2, Max: time.Second, Jitter: 0.2}
}

// recovery returns when to ask again where no node can be reached: it costs
// the nodes nothing.
func recovery() backoff.Policy {
	return backoff.Policy{Retries: math.MaxInt, Base: 10 * time.Millisecond, Factor: 2, Max: 50 * time.Millisecond, Jitter: 0.2}
}
