package server

import (
	"encoding/base64"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// kv answers requests for a key.
func (s *Server) kv(w http.ResponseWriter, r *http.Request) {
	op, ok := opOf(r.Method)
	if !ok {
		s.notAllowed(w, r, "GET, HEAD, PUT, DELETE")
		return
	}
	q := &core.Request{Op: op}
	timeout, release, err := s.parse(q, r)
	if err != nil {
		s.fail(w, r, refusal(op, err))
		return
	}
	defer release()
	result := s.do(w, r, q, timeout)
	s.answer(w, r, q, result)
}

// opOf returns what a method asks for.
func opOf(method string) (core.Op, bool) {
	switch method {
	case http.MethodGet, http.MethodHead:
		return core.OpGet, true
	case http.MethodPut:
		return core.OpPut, true
	case http.MethodDelete:
		return core.OpDelete, true
	}
	return 0, false
}

// parse takes the request into q, checked. The body is read last, so that a
// request that cannot be costs no memory. release is called when the request
// has ended; it is nil with an error.
func (s *Server) parse(q *core.Request, r *http.Request) (timeout time.Duration, release func(), err error) {
	if q.Key, err = parseKey(r.URL.EscapedPath()); err != nil {
		return 0, nil, err
	}
	p, err := s.limits.parseQuery(r.URL.RawQuery)
	if err != nil {
		return 0, nil, err
	}
	q.Options = p.options
	if err := parseHeaders(q, r.Header); err != nil {
		return 0, nil, err
	}
	if err := s.limits.Check(q); err != nil {
		return 0, nil, err
	}
	if q.Op != core.OpPut {
		return p.timeout, func() {}, nil
	}
	if s.backend.TurnsAway(q.Op, q.Key) {
		return 0, nil, errTurnedAway
	}
	q.Value, release, err = s.bodies.read(r, s.limits)
	return p.timeout, release, err
}

// answer prints how a request ended.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, q *core.Request, result core.Result) {
	var memory [usualHead]byte
	h := head{text: memory[:0]}
	h.result(q, &result)
	if result.Code == core.CodeOK && q.Op == core.OpGet {
		s.values(w, r, q, result.Set, &h)
		return
	}
	h.setIn(w.Header())
	if result.Code != core.CodeOK {
		s.fail(w, r, failed(q.Op, result))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// values answers a read that found something.
func (s *Server) values(w http.ResponseWriter, r *http.Request, q *core.Request, set version.Siblings, h *head) {
	var few [2]Shown // most keys have one value
	shown := Show(few[:0], set)
	if size := sizeOf(shown); size > freeAnswer {
		if !s.bodies.bytes.TryAcquire(size) {
			s.fail(w, r, failed(q.Op, core.Result{Code: core.CodeOverloaded}))
			return
		}
		defer s.bodies.bytes.Release(size)
	}
	switch len(shown) {
	case 0: // tombstones only, if the backend did not say so
		h.setIn(w.Header())
		s.fail(w, r, failed(q.Op, core.Result{Code: core.CodeNotFound}))
	case 1:
		h.timestamp(shown[0].Timestamp)
		h.setIn(w.Header())
		s.value(w, r, shown[0].Data)
	default:
		h.setIn(w.Header())
		s.writeJSON(w, http.StatusMultipleChoices, choicesOf(w.Header().Get(HeaderContext), shown))
	}
}

// value answers with one value.
func (s *Server) value(w http.ResponseWriter, r *http.Request, data []byte) {
	h := w.Header()
	h["Content-Type"] = s.anything
	h["X-Content-Type-Options"] = s.noSniff
	if len(data) == 0 || len(data) > autoLength || r.Method == http.MethodHead {
		h.Set("Content-Length", strconv.Itoa(len(data)))
	}
	w.WriteHeader(http.StatusOK)
	if _, err := w.Write(data); err != nil {
		s.logger.Debug("client left before its answer", nameOf(w), slog.Any("error", err))
	}
}

// choices is the body of a 300.
type choices struct {
	Context  string   `json:"context"`
	Siblings []choice `json:"siblings"`
}

type choice struct {
	Data      string `json:"data"` // base64
	Timestamp string `json:"timestamp"`
}

func choicesOf(token string, shown []Shown) choices {
	c := choices{Context: token, Siblings: make([]choice, len(shown))}
	for i, v := range shown {
		c.Siblings[i] = choice{Data: base64.StdEncoding.EncodeToString(v.Data), Timestamp: string(appendTimestamp(nil, v.Timestamp))}
	}
	return c
}
