package client

import (
	"fmt"
	"time"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// Option changes one request.
type Option func(*request)

// Overwrite makes a write replace whatever the node that coordinates it has
// stored, without a context: the last writer wins there. Writers at the same
// time can still leave siblings.
func Overwrite() Option { return func(r *request) { r.overwrite = true } }

// WithR sets how many replicas must answer, 1 to N, in place of what the nodes
// are configured with.
func WithR(n int) Option {
	return func(r *request) {
		r.keep(checkReplicas("r", n))
		r.r = uint32(n)
	}
}

// WithW sets how many replicas must have stored the write, 1 to N, in place
// of what the nodes are configured with.
func WithW(n int) Option {
	return func(r *request) {
		r.keep(checkReplicas("w", n))
		r.w = uint32(n)
	}
}

// maxReplicas bounds r and w here; the nodes know N and say so.
const maxReplicas = 1 << 8

func checkReplicas(name string, n int) error {
	if n < 1 || n > maxReplicas {
		return fmt.Errorf("%s is %d; 1 to N are allowed, the number of replicas of a key", name, n)
	}
	return nil
}

// WithTimeout sets the time that the request has, 1 ms to 60 s, in place of
// Config.Timeout. A deadline of the context cuts it further.
func WithTimeout(d time.Duration) Option {
	return func(r *request) {
		if d < minTimeout || d > maxTimeout {
			r.keep(fmt.Errorf("the timeout is %v; %v to %v are allowed", d, minTimeout, maxTimeout))
		}
		r.timeout = d
	}
}

// Strict counts the key's owners only: no other node may stand in for one
// that cannot be reached.
func Strict() Option {
	return func(r *request) { r.quorum = dynamov1.QuorumKind_QUORUM_KIND_STRICT }
}

// Sloppy lets other nodes stand in for owners that cannot be reached, however
// the nodes are configured.
func Sloppy() Option {
	return func(r *request) { r.quorum = dynamov1.QuorumKind_QUORUM_KIND_SLOPPY }
}

// BlockingRepair has a read answer only when R owners of the key durably hold
// what it returns, so that such reads never go back, where their R add up to
// more than N. It counts owners alone, as Strict does.
func BlockingRepair() Option { return func(r *request) { r.blocking = true } }

// ReportQuorum has the request fill in to, whether it succeeds or fails.
func ReportQuorum(to *QuorumMet) Option { return func(r *request) { r.met = to } }

// WithIdempotencyKey names a write, so that one that is repeated with the
// same key is carried out once: 32 hexadecimal digits are a write ID as it
// is, any other text of 1 to 255 bytes is hashed to one. Without it the client
// draws one for each write, which makes its own repetitions safe; give one to
// repeat a write whose outcome is Unknown yourself.
func WithIdempotencyKey(key string) Option {
	return func(r *request) {
		w, err := version.WriteIDFrom(key)
		r.keep(err)
		r.writeID = w
	}
}

// WithRequestID names the request in the logs and traces of the nodes that it
// comes to, and in its error: 1 to 64 of the characters A-Z a-z 0-9 . _ -.
// Without it a node draws a name for a request that fails, which its error has
// as well.
func WithRequestID(name string) Option {
	return func(r *request) {
		if !id.SoundRequestID(name) {
			r.keep(fmt.Errorf("the request ID is %q; 1 to %d of the characters A-Z a-z 0-9 . _ - are allowed", name, id.MaxRequestIDBytes))
			return
		}
		r.requestID = name
	}
}
