package server

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// reply is an answer that was read to its end.
type reply struct {
	status int
	header http.Header
	closes bool // the server closes the connection after it
	body   []byte
}

// roundTrip sends bytes over a real connection and returns the answer.
func roundTrip(t *testing.T, f *fake, request string) reply {
	t.Helper()
	srv := httptest.NewServer(newServer(f))
	t.Cleanup(srv.Close)
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{status: resp.StatusCode, header: resp.Header, closes: resp.Close, body: body}
}

func TestKeysOnTheWire(t *testing.T) {
	tests := []struct{ path, key string }{
		{"a", "a"},
		{"a/b", "a/b"},
		{"a%2Fb", "a/b"},
		{"..", ".."},
		{"../../etc", "../../etc"},
		{"%2e%2E", ".."},
		{"a//b/", "a//b/"},
		{"/", "/"},
		{"a+b", "a+b"},
		{"a%20b", "a b"},
		{"%00", "\x00"},
		{"%FF%fe", "\xff\xfe"},
		{"%3Fr=1", "?r=1"},
		{"%25", "%"},
		{"k%C3%A4se", "käse"},
		{"a;b=c", "a;b=c"},
	}
	for _, test := range tests {
		f := &fake{result: found(siblings("v"))}
		got := roundTrip(t, f, "GET /v1/kv/"+test.path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		if got.status != http.StatusOK {
			t.Errorf("%s: %d: %s", test.path, got.status, got.body)
			continue
		}
		if string(f.asked.Key) != test.key {
			t.Errorf("%s is the key %q, want %q", test.path, f.asked.Key, test.key)
		}
	}
}

func TestWrongPercentEncoding(t *testing.T) {
	for _, path := range []string{"%", "%z", "%zz", "a%2"} {
		f := &fake{}
		got := roundTrip(t, f, "GET /v1/kv/"+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		if got.status != http.StatusBadRequest {
			t.Errorf("%s: %d, want 400", path, got.status)
		}
		if f.asked != nil {
			t.Errorf("%s: the backend was asked for %q", path, f.asked.Key)
		}
	}
}

func TestHeadHasNoBody(t *testing.T) {
	got := roundTrip(t, &fake{result: found(siblings("value"))}, "HEAD /v1/kv/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if got.status != http.StatusOK || len(got.body) != 0 || got.header.Get("Content-Length") != "5" {
		t.Errorf("%d with the length %s and the body %q", got.status, got.header.Get("Content-Length"), got.body)
	}
	if got.header.Get("Dynamo-Context") == "" {
		t.Error("no context")
	}
}

// Values of all lengths come with it, whoever counts it.
func TestContentLength(t *testing.T) {
	for _, size := range []int{0, 1, autoLength, autoLength + 1, 64 << 10} {
		want := strings.Repeat("v", size)
		got := roundTrip(t, &fake{result: found(siblings(want))}, "GET /v1/kv/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if got.status != http.StatusOK || string(got.body) != want || got.header.Get("Content-Length") != strconv.Itoa(size) {
			t.Errorf("%d with the length %q and %d bytes; want %d", got.status, got.header.Get("Content-Length"), len(got.body), size)
		}
	}
}

// A body that is too large gets its 413, whether its length is known or not,
// though the client reads nothing before it has sent everything.
func TestTooLargeBodies(t *testing.T) {
	const size = 4 << 20 // far above what the kernel's buffers hold
	body := bytes.Repeat([]byte("x"), size)
	chunked := fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", size, body)
	known := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", size, body)
	for name, rest := range map[string]string{"chunked": chunked, "known length": known} {
		t.Run(name, func(t *testing.T) {
			f := &fake{}
			got := roundTrip(t, f, "PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\n"+rest)
			if got.status != http.StatusRequestEntityTooLarge || !got.closes {
				t.Errorf("%d, closing: %v", got.status, got.closes)
			}
			e := errorOf(t, got.body)
			if e.Code != "too_large" || e.Outcome != "not_written" || !strings.Contains(e.Message, "1024") {
				t.Errorf("error %+v", e)
			}
			if f.asked != nil {
				t.Error("the backend was asked")
			}
		})
	}
}

func TestLargestBody(t *testing.T) {
	body := strings.Repeat("x", testLimits.MaxValueBytes)
	f := &fake{result: core.Result{Code: core.CodeOK}}
	chunked := fmt.Sprintf("PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	got := roundTrip(t, f, chunked)
	if got.status != http.StatusNoContent || string(f.asked.Value) != body {
		t.Errorf("%d", got.status)
	}
}

// A body that breaks off is never taken for a shorter value.
func TestTruncatedBody(t *testing.T) {
	f := &fake{}
	r := httptest.NewRequestWithContext(t.Context(), "PUT", "/v1/kv/k", io.MultiReader(strings.NewReader("half"), brokenReader{}))
	r.ContentLength = 8
	w := httptest.NewRecorder()
	newServer(f).ServeHTTP(w, r)
	wantStatus(t, w, http.StatusBadRequest)
	if f.asked != nil {
		t.Errorf("the backend was asked to store %q", f.asked.Value)
	}
	if w.Header().Get("Connection") != "close" {
		t.Error("the connection stays")
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// A put that is turned away is not read: its client hears so at once.
func TestTurnedAwayUnread(t *testing.T) {
	f := &fake{result: core.Result{Code: core.CodeOK}, full: true}
	s := newServer(f)
	if !s.bodies.bytes.TryAcquire(maxBodies) {
		t.Fatal("the budget is not empty")
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "PUT", "/v1/kv/k", strings.NewReader("v")))
	wantStatus(t, w, http.StatusServiceUnavailable)
	e := errorOf(t, w.Body.Bytes())
	if e.Code != "overloaded" || e.Outcome != "not_written" || w.Header().Get("Retry-After") == "" || f.asked != nil {
		t.Errorf("error %+v, Retry-After %q; the backend was asked for %v", e, w.Header().Get("Retry-After"), f.asked)
	}
	if !strings.Contains(e.Message, "try again later") {
		t.Errorf("it says %q", e.Message) // and nothing of memory, which is not even looked at
	}
}

// Bodies in memory are bounded: the one that does not fit any more is turned
// away, and the next gets in when the first is gone.
func TestBodyBudget(t *testing.T) {
	f := &fake{result: core.Result{Code: core.CodeOK}}
	s := newServer(f)
	if !s.bodies.bytes.TryAcquire(maxBodies) {
		t.Fatal("the budget is not empty")
	}
	put := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "PUT", "/v1/kv/k", strings.NewReader("v")))
		return w
	}
	w := put()
	wantStatus(t, w, http.StatusServiceUnavailable)
	if e := errorOf(t, w.Body.Bytes()); e.Code != "overloaded" || e.Outcome != "not_written" || w.Header().Get("Retry-After") == "" {
		t.Errorf("error %+v, Retry-After %q", e, w.Header().Get("Retry-After"))
	}
	s.bodies.bytes.Release(maxBodies)
	for range 3 {
		wantStatus(t, put(), http.StatusNoContent)
	}
	if !s.bodies.bytes.TryAcquire(maxBodies) {
		t.Error("requests that have ended hold memory of the budget")
	}
}

// stalled is a body of which nothing comes until it is cut off.
type stalled struct {
	asked chan struct{} // of capacity 1
	cut   chan struct{}
}

func (s stalled) Read([]byte) (int, error) {
	select {
	case s.asked <- struct{}{}:
	default: // it is read to be dropped
	}
	<-s.cut
	return 0, io.ErrClosedPipe
}

// A body takes memory as it comes in: a length that is announced, or may be
// anything, costs little.
func TestStalledBodies(t *testing.T) {
	for name, length := range map[string]int64{"announced": 1 << 20, "chunked": -1} {
		t.Run(name, func(t *testing.T) {
			s := newServer(&fake{})
			s.limits.MaxValueBytes = 1 << 20
			body := stalled{make(chan struct{}, 1), make(chan struct{})}
			r := httptest.NewRequestWithContext(t.Context(), "PUT", "/v1/kv/k", body)
			r.ContentLength = length
			w := httptest.NewRecorder()
			served := make(chan struct{})
			go func() {
				defer close(served)
				s.ServeHTTP(w, r)
			}()
			<-body.asked
			if !s.bodies.bytes.TryAcquire(maxBodies - firstBytes) {
				t.Errorf("it holds more than %d bytes", firstBytes)
			}
			close(body.cut)
			<-served
			wantStatus(t, w, http.StatusBadRequest)
		})
	}
}

// Bodies of any length arrive whole, whether that is known or not.
func TestBodiesOfAllLengths(t *testing.T) {
	for _, size := range []int{0, 1, firstBytes - 1, firstBytes, firstBytes + 1, 3*firstBytes + 7, 1 << 20} {
		want := bytes.Repeat([]byte{byte(size), byte(size >> 8), 'x'}, size/3+1)[:size]
		for _, length := range []int64{int64(size), -1} {
			f := &fake{result: core.Result{Code: core.CodeOK}}
			s := newServer(f)
			s.limits.MaxValueBytes = 1 << 20
			r := httptest.NewRequestWithContext(t.Context(), "PUT", "/v1/kv/k", bytes.NewReader(want))
			r.ContentLength = length
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			wantStatus(t, w, http.StatusNoContent)
			if !bytes.Equal(f.asked.Value, want) {
				t.Errorf("%d bytes of %d arrive, or others", len(f.asked.Value), size)
			}
			if !s.bodies.bytes.TryAcquire(maxBodies) {
				t.Errorf("%d bytes: memory is kept", size)
			}
		}
	}
}

// Large values that clients are slow to take are bounded like the bodies of
// requests; small ones fit the buffers of their connections.
func TestLargeAnswersAreBounded(t *testing.T) {
	large := strings.Repeat("v", freeAnswer+1)
	for name, f := range map[string]*fake{
		"a value":  {result: found(siblings(large))},
		"siblings": {result: found(siblings(large[:freeAnswer/2+1], large[:freeAnswer/2+2]))},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(f)
			get := func() *httptest.ResponseRecorder {
				w := httptest.NewRecorder()
				s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/v1/kv/k", http.NoBody))
				return w
			}
			if !s.bodies.bytes.TryAcquire(maxBodies - freeAnswer) {
				t.Fatal("the budget is not empty")
			}
			w := get()
			wantStatus(t, w, http.StatusServiceUnavailable)
			if e := errorOf(t, w.Body.Bytes()); e.Code != "overloaded" || w.Header().Get("Retry-After") == "" || w.Header().Get("Dynamo-Context") != "" {
				t.Errorf("error %+v, headers %v", e, w.Header())
			}
			s.bodies.bytes.Release(maxBodies - freeAnswer)
			w = get()
			if w.Code >= http.StatusBadRequest || w.Body.Len() <= freeAnswer {
				t.Errorf("status %d, %d bytes", w.Code, w.Body.Len())
			}
			if !s.bodies.bytes.TryAcquire(maxBodies) {
				t.Error("answers that have left hold memory")
			}
			f.result = found(siblings(large[:freeAnswer]))
			wantStatus(t, get(), http.StatusOK)
		})
	}
}

// panicking is a backend that is broken.
type panicking struct{ fake }

func (*panicking) Status() core.ClusterStatus { panic("the map is torn") }

// A request that panics costs its connection, and the log says so whatever its
// level is.
func TestPanicsAreLogged(t *testing.T) {
	var log bytes.Buffer
	s := New(Options{
		Backend: &panicking{}, Limits: testLimits,
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("it ends with %v", err)
		}
		for _, want := range []string{"the map is torn", "request_id=r1", "wire_test.go"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("no %s in the log: %s", want, log.String())
			}
		}
	}()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/status", http.NoBody)
	r.Header.Set(HeaderRequestID, "r1")
	s.ServeHTTP(httptest.NewRecorder(), r)
}

// onPipe has a server serve one connection in virtual time, of which talk has the
// other end, and stops it.
func onPipe(t *testing.T, talk func(t *testing.T, conn net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(&fake{})
		l := newPipeListener()
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		talk(t, l.dial())
		if err := s.Stop(t.Context()); err != nil {
			t.Errorf("Stop: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// A client that sends no header is cut off.
func TestSilentClient(t *testing.T) {
	onPipe(t, func(t *testing.T, conn net.Conn) {
		began := time.Now()
		if _, err := io.ReadAll(conn); err != nil {
			t.Errorf("the connection ended with %v", err)
		}
		if waited := time.Since(began); waited != headerTimeout {
			t.Errorf("cut off after %v, want %v", waited, headerTimeout)
		}
	})
}

// A body has its time to come in, and then its client is told.
func TestSlowBody(t *testing.T) {
	for name, request := range map[string]string{
		"announced": "PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nmil",
		"chunked":   "PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nmil\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			onPipe(t, func(t *testing.T, conn net.Conn) {
				began := time.Now()
				if _, err := io.WriteString(conn, request); err != nil {
					t.Fatal(err)
				}
				answer, err := io.ReadAll(conn)
				if err != nil {
					t.Errorf("the connection ended with %v", err)
				}
				for _, want := range []string{"400 Bad Request", "Connection: close", "the body has not come in whole within 1m10s of its request's begin;", `"outcome":"not_written"`} {
					if !strings.Contains(string(answer), want) {
						t.Errorf("the answer does not say %q: %s", want, answer)
					}
				}
				if waited := time.Since(began); waited != headerTimeout+bodyTimeout {
					t.Errorf("cut off after %v, want %v", waited, headerTimeout+bodyTimeout)
				}
			})
		})
	}
}

// A connection is kept for the next request for a minute.
func TestIdleClient(t *testing.T) {
	onPipe(t, func(t *testing.T, conn net.Conn) {
		from := bufio.NewReader(conn)
		if _, err := io.WriteString(conn, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(from, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := from.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("the connection ended with %v", err)
		}
		if idle := time.Since(began); idle != time.Minute {
			t.Errorf("cut off after %v, want a minute", idle)
		}
	})
}

// pipeListener is a listener whose connections are pipes.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) dial() net.Conn {
	client, server := net.Pipe()
	l.conns <- server
	return client
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	close(l.done)
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
