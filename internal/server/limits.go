package server

import (
	"fmt"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// The bounds of a request's timeout. Below a millisecond no answer of a peer
// can arrive; above MaxTimeout a request would outlive the messages that it
// sends.
const (
	MinTimeout = time.Millisecond
	MaxTimeout = id.MaxMessageAge
)

// Limits is what a node accepts from its clients, whatever they speak.
type Limits struct {
	Replicas      int           // N: r and w are 1 to N
	MaxValueBytes int           // of one value
	Timeout       time.Duration // of a request that names none
}

// Kind is why a request is refused before anything of it is done.
type Kind uint8

// The kinds.
const (
	KindInvalid    Kind = iota + 1 // it says what cannot be, or contradicts itself
	KindContext                    // its context is malformed or of another key
	KindTooLarge                   // its value is larger than is accepted
	KindKeyTooLong                 // its key is longer than is accepted
)

// Refused is a request that was not accepted: nothing of it was done.
type Refused struct {
	Kind    Kind
	Message string // what is wrong and what is allowed
}

// Error returns the message.
func (r *Refused) Error() string { return r.Message }

func invalidf(format string, args ...any) error {
	return &Refused{Kind: KindInvalid, Message: fmt.Sprintf(format, args...)}
}

// Check says whether q may enter the node: nil, or a *Refused. R and W that
// are 0 mean the configured ones; a caller that can tell a 0 that was given
// from none checks it with CheckReplicas.
func (l Limits) Check(q *core.Request) error {
	if err := CheckKey(q.Key); err != nil {
		return err
	}
	if len(q.Value) > l.MaxValueBytes {
		return l.tooLarge()
	}
	if q.Options.R != 0 {
		if err := l.CheckReplicas("r", q.Options.R); err != nil {
			return err
		}
	}
	if q.Options.W != 0 {
		if err := l.CheckReplicas("w", q.Options.W); err != nil {
			return err
		}
	}
	return checkCausality(q)
}

// CheckKey says whether a key has a length that is allowed; its bytes are
// free.
func CheckKey(key []byte) error {
	if len(key) == 0 {
		return invalidf("the key is empty; a key has 1 to %d bytes", id.MaxKeyBytes)
	}
	if len(key) > id.MaxKeyBytes {
		return &Refused{Kind: KindKeyTooLong, Message: fmt.Sprintf("the key has %d bytes; 1 to %d are allowed", len(key), id.MaxKeyBytes)}
	}
	return nil
}

// CheckReplicas says whether n may be the r or w of a request.
func (l Limits) CheckReplicas(name string, n int) error {
	if n < 1 || n > l.Replicas {
		return invalidf("%s is %d; 1 to %d are allowed, the number of replicas of a key", name, n, l.Replicas)
	}
	return nil
}

// CheckTimeout says whether d may be the timeout of a request.
func CheckTimeout(d time.Duration) error {
	if d < MinTimeout || d > MaxTimeout {
		return invalidf("the timeout is %v; %v to %v are allowed", d, MinTimeout, MaxTimeout)
	}
	return nil
}

// BindContext returns the clock of a context that was given for key.
func BindContext(c version.Context, key []byte) (version.Clock, error) {
	if err := c.For(key); err != nil {
		return version.Clock{}, &Refused{Kind: KindContext, Message: err.Error()}
	}
	return c.Clock, nil
}

// ParseContext parses a token that was given for key.
func ParseContext(token string, key []byte) (version.Clock, error) {
	c, err := version.ParseContext(token)
	if err != nil {
		return version.Clock{}, &Refused{Kind: KindContext, Message: err.Error()}
	}
	return BindContext(c, key)
}

// checkCausality says whether context, overwrite, repair and operation fit
// together.
func checkCausality(q *core.Request) error {
	switch {
	case q.Op == core.OpGet && q.Options.Overwrite:
		return invalidf("overwrite is for writes; a read does not take it")
	case q.Op != core.OpGet && q.Options.Repair == core.RepairBlocking:
		return invalidf("repair=blocking is for reads; a write is on W replicas when it is answered")
	case q.Options.Repair == core.RepairBlocking && q.Options.Quorum == core.QuorumSloppy:
		return invalidf("repair=blocking and quorum=sloppy together contradict each other: " +
			"a blocking read counts owners alone; give one of them")
	case q.HasContext && q.Options.Overwrite:
		return invalidf("a context and overwrite together contradict each other: " +
			"a context replaces what its holder has read, overwrite whatever is stored; give one of them")
	case q.Op == core.OpDelete && !q.HasContext && !q.Options.Overwrite:
		return invalidf("a delete needs a context, which deletes what its holder has read, " +
			"or overwrite, which deletes whatever is stored")
	}
	return nil
}

func (l Limits) tooLarge() error {
	return &Refused{Kind: KindTooLarge, Message: fmt.Sprintf("the value has more than %d bytes, "+
		"the most that this node accepts (MaxValueBytes)", l.MaxValueBytes)}
}
