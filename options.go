package dynamo

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/kv"
	"github.com/dynamo-kv/dynamo/internal/server"
)

// Option changes one request.
type Option func(*request)

// request is a request while its options are applied. The first error stays.
type request struct {
	core.Request
	timeout time.Duration
	met     *QuorumMet // to be filled in
	limits  server.Limits
	err     error
}

func (r *request) keep(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Overwrite makes a write replace whatever the node that coordinates it has
// stored, without a context: the last writer wins there. Writers at the same
// time through different nodes can still leave siblings.
func Overwrite() Option { return func(r *request) { r.Options.Overwrite = true } }

// WithR sets how many replicas must answer, 1 to N, in place of Config.R.
func WithR(n int) Option {
	return func(r *request) {
		r.keep(r.limits.CheckReplicas("r", n))
		r.Options.R = n
	}
}

// WithW sets how many replicas must have stored the write, 1 to N, in place
// of Config.W.
func WithW(n int) Option {
	return func(r *request) {
		r.keep(r.limits.CheckReplicas("w", n))
		r.Options.W = n
	}
}

// WithTimeout sets the time that the request has, 1 ms to 60 s, in place of
// Config.RequestTimeout. A deadline of the context cuts it further.
func WithTimeout(d time.Duration) Option {
	return func(r *request) {
		r.keep(server.CheckTimeout(d))
		r.timeout = d
	}
}

// Strict counts the key's owners only: no other node may stand in for one
// that cannot be reached.
func Strict() Option { return func(r *request) { r.Options.Quorum = core.QuorumStrict } }

// Sloppy lets other nodes stand in for owners that cannot be reached, whatever
// Config.Quorum says.
func Sloppy() Option { return func(r *request) { r.Options.Quorum = core.QuorumSloppy } }

// BlockingRepair has a read answer only when R owners of the key durably hold
// what it returns, so that such reads never go back: one that begins after
// another has ended finds at least what that one found, whoever coordinates
// it, provided that their R add up to more than N and that the layout does not
// change. It counts owners alone, as Strict does. Without it, owners that are
// behind get what they miss after the answer.
func BlockingRepair() Option {
	return func(r *request) { r.Options.Repair = core.RepairBlocking }
}

// QuorumMet says by whom a request was answered: the Replicas that stored the
// write or answered the read, how many of them stood in for an owner, Hinted for
// a write and Fallbacks for a read, and how many were Required.
type QuorumMet = kv.QuorumMet

// ReportQuorum has the request fill in to, whether it succeeds or fails.
func ReportQuorum(to *QuorumMet) Option { return func(r *request) { r.met = to } }

// WithIdempotencyKey names a write, so that one that is repeated with the
// same key is carried out once: 32 hexadecimal digits are a write ID as it
// is, any other text of 1 to 255 bytes is hashed to one. Use a new key for
// each write, and the old one to repeat it after ErrTimeout or ErrQuorum.
func WithIdempotencyKey(key string) Option {
	return func(r *request) {
		w, err := server.WriteIDFrom(key)
		r.keep(err)
		r.Options.WriteID = w
	}
}
