package grpckv

import (
	"fmt"
	"time"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/server"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// What is parsed refers to the memory of its message.

func (s *service) parseGet(q *core.Request, m *dynamov1.GetRequest) (err error) {
	q.Op, q.Key, q.Options.R = core.OpGet, m.Key, int(m.R)
	if m.BlockingRepair {
		q.Options.Repair = core.RepairBlocking
	}
	if q.Options.Quorum, err = quorumOf(m.Quorum); err != nil {
		return err
	}
	return s.limits.Check(q)
}

func (s *service) parsePut(q *core.Request, m *dynamov1.PutRequest) error {
	q.Op, q.Key, q.Value = core.OpPut, m.Key, m.Value
	return s.parseWrite(q, m)
}

func (s *service) parseDelete(q *core.Request, m *dynamov1.DeleteRequest) error {
	q.Op, q.Key = core.OpDelete, m.Key
	return s.parseWrite(q, m)
}

// write is what puts and deletes have in common.
type write interface {
	GetContext() []byte
	GetOverwrite() bool
	GetW() uint32
	GetQuorum() dynamov1.QuorumKind
	GetWriteId() []byte
}

func (s *service) parseWrite(q *core.Request, m write) (err error) {
	q.Options.W, q.Options.Overwrite = int(m.GetW()), m.GetOverwrite()
	if q.Options.Quorum, err = quorumOf(m.GetQuorum()); err != nil {
		return err
	}
	if q.Options.WriteID, err = writeIDOf(m.GetWriteId()); err != nil {
		return err
	}
	if token := m.GetContext(); len(token) > 0 {
		c, err := version.DecodeContext(token)
		if err != nil {
			return &server.Refused{Kind: server.KindContext, Message: err.Error()}
		}
		if q.Context, err = server.BindContext(c, q.Key); err != nil {
			return err
		}
		q.HasContext = true
	}
	return s.limits.Check(q)
}

func quorumOf(k dynamov1.QuorumKind) (core.Quorum, error) {
	switch k {
	case dynamov1.QuorumKind_QUORUM_KIND_UNSPECIFIED:
		return core.QuorumDefault, nil
	case dynamov1.QuorumKind_QUORUM_KIND_SLOPPY:
		return core.QuorumSloppy, nil
	case dynamov1.QuorumKind_QUORUM_KIND_STRICT:
		return core.QuorumStrict, nil
	}
	return 0, invalidf("quorum is %d; 0 to %d are allowed: as configured, sloppy, strict", k, dynamov1.QuorumKind_QUORUM_KIND_STRICT)
}

func writeIDOf(b []byte) (w version.WriteID, err error) {
	if len(b) == 0 {
		return w, nil
	}
	if copy(w[:], b) != len(b) || len(b) != len(w) {
		return version.WriteID{}, invalidf("the write ID has %d bytes; %d or none are allowed", len(b), len(w))
	}
	if w.IsZero() {
		return w, invalidf("the write ID is all zeros, which stands for none; draw it at random")
	}
	return w, nil
}

// timeoutOf returns the time that a request of a stream has.
func (s *service) timeoutOf(ns uint64) (time.Duration, error) {
	if ns == 0 {
		return s.limits.Timeout, nil
	}
	d := time.Duration(min(ns, uint64(2*server.MaxTimeout))) // which is too long as well
	return d, server.CheckTimeout(d)
}

func invalidf(format string, args ...any) error {
	return &server.Refused{Kind: server.KindInvalid, Message: fmt.Sprintf(format, args...)}
}
