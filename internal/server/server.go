package server

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

// The bounds of a connection, so that slow or hostile clients cost little.
const (
	headerTimeout = 10 * time.Second // a header is one packet or a few
	bodyTimeout   = 60 * time.Second // 16 MiB at 2.2 Mbit/s
	// writeTimeout runs from the end of the header: the body, the longest
	// request, and as long again for the answer.
	writeTimeout = bodyTimeout + MaxTimeout + 60*time.Second
	idleTimeout  = 60 * time.Second
	// maxHeader holds the longest context beside everything else.
	maxHeader = 2 * id.MaxContextBytes
)

// Options of a Server.
type Options struct {
	Backend Backend
	Limits  Limits
	// Tracer begins the traces of requests; nil: none is traced.
	Tracer Tracer
	// Peers asks other nodes what they hold of a key that is to be explained.
	Peers *http.Client
	// Others answer further paths, each exactly as it stands.
	Others map[string]http.Handler
	// ConnContext is called for each connection that comes in, with its
	// requests' context; nil: nobody wants to know.
	ConnContext func(ctx context.Context, c net.Conn) context.Context
	Logger      *slog.Logger
}

// Server answers HTTP requests. It is an http.Handler, safe for concurrent
// use, with a listener loop of its own for production.
type Server struct {
	backend  Backend
	limits   Limits
	tracer   Tracer // nil: nothing is traced
	peers    *http.Client
	others   map[string]http.Handler
	paths    string // that are served, for people
	logger   *slog.Logger
	bodies   budget
	flight   flight
	explains *semaphore.Weighted
	http     *http.Server

	// The values of headers that are always the same, which nobody changes: a
	// value is bytes, and never a page of this origin.
	anything, noSniff []string
}

// New returns a server that does not listen yet.
func New(o Options) *Server {
	s := &Server{
		backend: o.Backend, limits: o.Limits, tracer: o.Tracer, peers: o.Peers, others: o.Others, logger: o.Logger,
		bodies: newBudget(), explains: semaphore.NewWeighted(maxExplains),
		anything: []string{"application/octet-stream"}, noSniff: []string{"nosniff"},
	}
	s.paths = strings.Join(append(slices.Sorted(maps.Keys(o.Others)), "/v1/explain/{key}, /v1/status and /health"), ", ")
	s.http = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       headerTimeout + bodyTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       o.ConnContext,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	return s
}

// Serve accepts connections on l until Stop, and then returns nil.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Stop takes no more requests of clients and lets those that run end until ctx
// does; then it closes the listeners and what is left. Other paths are answered
// meanwhile: what a client waits for may come from another node over them.
func (s *Server) Stop(ctx context.Context) error {
	s.flight.stop(ctx)
	err := s.http.Shutdown(ctx)
	if err == nil {
		return nil
	}
	return errors.Join(err, s.http.Close())
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer s.logPanic(w)
	w.Header()[HeaderRequestID] = requestID(r.Header)
	path := r.URL.EscapedPath()
	if other, ok := s.others[path]; ok {
		other.ServeHTTP(w, r)
		return
	}
	if !s.flight.enter() {
		w.Header().Set("Connection", "close")
		op := core.OpPut
		if isRead(r.Method) {
			op = core.OpGet
		}
		s.fail(w, r, failed(op, core.Result{Code: core.CodeStopped, Outcome: core.NotWritten}))
		return
	}
	defer s.flight.leave()
	switch {
	case strings.HasPrefix(path, keyPrefix):
		s.kv(w, r)
	case strings.HasPrefix(path, explainPrefix):
		s.explain(w, r)
	case path == "/v1/status":
		s.status(w, r)
	case path == "/health":
		s.health(w, r)
	default:
		s.fail(w, r, failure{
			status:  http.StatusNotFound,
			Code:    codeNoSuchPath,
			Message: "there is no such path; PUT, GET and DELETE /v1/kv/{key}, with the key percent-encoded, " + s.paths + " are served",
		})
	}
}

func (s *Server) notAllowed(w http.ResponseWriter, r *http.Request, allowed string) {
	w.Header().Set("Allow", allowed)
	s.fail(w, r, failure{
		status:  http.StatusMethodNotAllowed,
		Code:    codeMethodNotAllowed,
		Message: "the method " + r.Method + " is not allowed here; use " + allowed,
	})
}
