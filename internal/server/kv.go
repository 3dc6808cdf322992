package server

import (
	"encoding/base64"
	"fmt"
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
	h := w.Header()
	if result.Code == core.CodeOK || result.Code == core.CodeNotFound {
		if !result.Context.IsEmpty() {
			h.Set(HeaderContext, version.NewContext(q.Key, result.Context).Token())
		}
		h.Set(HeaderAcknowledged, strconv.Itoa(result.Acknowledged))
		h.Set(HeaderRequired, strconv.Itoa(result.Required))
	}
	if result.Required > 0 {
		h.Set(HeaderQuorum, quorumMet(q.Op, result))
	}
	switch {
	case result.Code != core.CodeOK:
		s.fail(w, r, failed(q.Op, result))
	case q.Op == core.OpGet:
		s.values(w, r, q, result)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// quorumMet says by whom a request was answered: how many nodes, and how many
// of them are fallbacks that keep the write for an owner, or that answered the
// read in its place.
func quorumMet(op core.Op, r core.Result) string {
	fallbacks := "hinted"
	if op == core.OpGet {
		fallbacks = "fallbacks"
	}
	return fmt.Sprintf("replicas=%d; %s=%d; required=%d", r.Acknowledged, fallbacks, r.Fallbacks, r.Required)
}

// values answers a read that found something.
func (s *Server) values(w http.ResponseWriter, r *http.Request, q *core.Request, result core.Result) {
	shown := Show(nil, result.Set)
	switch len(shown) {
	case 0: // tombstones only, if the backend did not say so
		s.fail(w, r, failed(q.Op, core.Result{Code: core.CodeNotFound}))
	case 1:
		h := w.Header()
		h.Set("Content-Type", "application/octet-stream")
		h.Set("X-Content-Type-Options", "nosniff") // a value is never a page of this origin
		h.Set("Content-Length", strconv.Itoa(len(shown[0].Data)))
		h.Set(HeaderTimestamp, timestamp(shown[0].Timestamp))
		w.WriteHeader(http.StatusOK)
		if _, err := w.Write(shown[0].Data); err != nil {
			s.logger.Debug("client left before its answer", nameOf(w), slog.Any("err", err))
		}
	default:
		s.writeJSON(w, http.StatusMultipleChoices, choicesOf(w.Header().Get(HeaderContext), shown))
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
		c.Siblings[i] = choice{Data: base64.StdEncoding.EncodeToString(v.Data), Timestamp: timestamp(v.Timestamp)}
	}
	return c
}

// timestamp prints Unix nanoseconds as RFC 3339 in UTC.
func timestamp(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }
