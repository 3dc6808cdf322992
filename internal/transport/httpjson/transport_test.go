package httpjson

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/transport/outbox"
	"github.com/dynamo-kv/dynamo/internal/transport/pause"
	"github.com/dynamo-kv/dynamo/internal/transport/wire"
)

// sink keeps what a transport hands over.
type sink struct{ delivered, failed chan *core.Envelope }

func newSink() *sink {
	return &sink{make(chan *core.Envelope, 2*outbox.MaxEnvelopes), make(chan *core.Envelope, 2*outbox.MaxEnvelopes)}
}

func (s *sink) Deliver(e *core.Envelope)    { s.delivered <- e }
func (s *sink) SendFailed(e *core.Envelope) { s.failed <- e }

// clock is a Mono that tests move on.
type clock struct{ now atomic.Int64 }

func (c *clock) mono() time.Duration { return time.Duration(c.now.Load()) }

func (c *clock) pass(d time.Duration) { c.now.Add(int64(d)) }

type testNode struct {
	*served
	*sink
	*clock
	addr string
}

// start returns a node that listens. The test's end closes it.
func start(t *testing.T) *testNode {
	t.Helper()
	return watched(t, nil)
}

// watched returns a node whose requests are watched.
func watched(t *testing.T, watch func(*http.Request)) *testNode {
	t.Helper()
	n := &testNode{sink: newSink(), clock: new(clock)}
	transport, err := New(Options{Self: "n1", Handler: n.sink, Mono: n.mono})
	if err != nil {
		t.Fatal(err)
	}
	n.served, n.addr = serve(t, transport, "", watch)
	t.Cleanup(func() { _ = n.Close() })
	return n
}

func (n *testNode) request(req uint64) *core.Envelope {
	return &core.Envelope{
		From: "n1", To: "n2", Req: core.ReqID(req), Deadline: n.mono() + id.MaxMessageAge,
		Msg: &core.Read{Key: []byte("k")},
	}
}

func (n *testNode) send(t *testing.T, addr string, req uint64) {
	t.Helper()
	if !n.Send(addr, n.request(req)) {
		t.Fatalf("envelope %d is not accepted", req)
	}
}

func receive[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(30 * time.Second):
		t.Fatalf("%s: nothing after 30 seconds", what)
		panic("unreachable")
	}
}

// soon returns what comes within a short time, or nil.
func soon(c <-chan *core.Envelope) *core.Envelope {
	select {
	case e := <-c:
		return e
	case <-time.After(20 * time.Millisecond):
		return nil
	}
}

func TestNewChecksItsOptions(t *testing.T) {
	good := Options{Self: "n1", Handler: newSink(), Mono: new(clock).mono}
	for name, breaks := range map[string]func(*Options){
		"self":    func(o *Options) { o.Self = "a~b" },
		"handler": func(o *Options) { o.Handler = nil },
		"mono":    func(o *Options) { o.Mono = nil },
	} {
		o := good
		breaks(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s is wrong, and New takes it", name)
		}
	}
}

// accepting returns the address of a listener that accepts connections and says
// nothing, as a stopped process does, and the connections.
func accepting(t *testing.T) (ln net.Listener, accepted chan net.Conn) {
	t.Helper()
	ln = listen(t, "")
	accepted = make(chan net.Conn, 10)
	go func() {
		defer close(accepted)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	return ln, accepted
}

// A node that accepts connections and says nothing costs an outbox and a batch.
// What waits for it was never sent, and comes back.
func TestSilentPeer(t *testing.T) {
	a, c := start(t), start(t)
	ln, accepted := accepting(t)
	addr := ln.Addr().String()
	a.send(t, addr, 0)
	conn := receive(t, "a connection", accepted)
	for req := range uint64(outbox.MaxEnvelopes) {
		a.send(t, addr, 1+req)
	}
	if a.Send(addr, a.request(0)) {
		t.Error("the outbox of a silent peer is not bounded")
	}
	a.send(t, c.addr, 1)
	receive(t, "the other peer", c.delivered)
	if len(a.failed) > 0 {
		t.Errorf("%d requests have come back already", len(a.failed))
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	for range outbox.MaxEnvelopes + 1 {
		receive(t, "what comes back", a.failed)
	}
	if s := a.Stats(); s.Sent.Envelopes != 1 || s.Failed != outbox.MaxEnvelopes+1 {
		t.Errorf("the stats count %+v", s)
	}
}

// Close does not wait for a peer that is silent.
func TestCloseWhileConnecting(t *testing.T) {
	a := start(t)
	ln, accepted := accepting(t)
	a.send(t, ln.Addr().String(), 1)
	conn := receive(t, "a connection", accepted)
	defer func() { _ = conn.Close() }()
	defer func() { _ = ln.Close() }()
	began := time.Now()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took >= connectTimeout {
		t.Errorf("Close took %s", took)
	}
	if len(a.failed) != 1 {
		t.Errorf("%d requests have come back, want 1", len(a.failed))
	}
}

// Addresses are gossiped. None makes a node do anything but connect by TCP to
// the port that is named.
func TestOddAddresses(t *testing.T) {
	a := start(t)
	socket := filepath.Join(t.TempDir(), "s")
	for i, addr := range []string{
		"", ":", "x", "%", "%zz:1", "a b:1", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:99999", ":7171", "[::1", "127.0.0.1:http",
		"unix:" + socket, "unix://" + socket, "dns:///x", "http://127.0.0.1:1", "127.0.0.1:1/x", "u@127.0.0.1:1",
	} {
		a.send(t, addr, uint64(i))
		if e := receive(t, addr, a.failed); e.Req != core.ReqID(i) {
			t.Errorf("%q: request %d comes back, want %d", addr, e.Req, i)
		}
	}
	if s := a.Stats().Sent; s.Messages != 0 {
		t.Errorf("%d messages were sent", s.Messages)
	}
}

// A host name is resolved.
func TestHostNames(t *testing.T) {
	a, b := start(t), start(t)
	_, port, err := net.SplitHostPort(b.addr)
	if err != nil {
		t.Fatal(err)
	}
	a.send(t, net.JoinHostPort("localhost", port), 1)
	receive(t, "localhost", b.delivered)
}

// A node that stood still for longer than silence takes nothing over
// connections of before: nobody knows how old it is. Its peers connect again.
func TestStoppedReceiver(t *testing.T) {
	a, b := start(t), start(t)
	a.send(t, b.addr, 1)
	receive(t, "before", b.delivered)
	b.pass(pause.Silence + 1)
	a.send(t, b.addr, 2)
	var e *core.Envelope
	for req := uint64(3); e == nil; req++ {
		a.send(t, b.addr, req)
		e = soon(b.delivered)
	}
	if e.Req == 2 {
		t.Error("an envelope over a connection of before the pause is delivered")
	}
}

// A node that stood still sends nothing over its connections of before.
func TestStoppedSender(t *testing.T) {
	a := start(t)
	var remotes atomic.Value
	b := watched(t, func(r *http.Request) { remotes.Store(r.RemoteAddr) })
	a.send(t, b.addr, 1)
	receive(t, "before", b.delivered)
	before := remotes.Load()
	a.send(t, b.addr, 2)
	receive(t, "before, again", b.delivered)
	if remotes.Load() != before {
		t.Error("a connection is not used again")
	}
	a.pass(pause.Silence + 1)
	a.send(t, b.addr, 3)
	if e := receive(t, "after", b.delivered); e.Req != 3 {
		t.Errorf("envelope %d arrives, want 3", e.Req)
	}
	if remotes.Load() == before {
		t.Error("the connection of before the pause is used")
	}
}

// Peers that do not greet get nothing.
func TestOddPeers(t *testing.T) {
	for name, says := range map[string]func(w http.ResponseWriter){
		"no such path": func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		"text":         func(w http.ResponseWriter) { _, _ = io.WriteString(w, "hello") },
		"nobody":       func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"node":"","protocol":1}`) },
		"no protocol":  func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"node":"n2"}`) },
		"much":         func(w http.ResponseWriter) { _, _ = io.WriteString(w, strings.Repeat(" ", maxHelloBytes+1)) },
		"a close": func(w http.ResponseWriter) {
			w.Header().Set("Connection", "close")
			_, _ = io.WriteString(w, `{"node":"n2","protocol":1}`)
		},
		"more": func(w http.ResponseWriter) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n{\"node\":\"n2\",\"protocol\":1}HTTP/1.1 200 OK\r\n\r\n")
				_ = conn.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != HelloPath {
					t.Errorf("%s is asked for", r.URL.Path)
				}
				says(w)
			}))
			defer server.Close()
			a := start(t)
			a.send(t, server.Listener.Addr().String(), 1)
			receive(t, "what comes back", a.failed)
			if a.Stats().Sent.Envelopes > 0 {
				t.Error("envelopes were sent to it")
			}
		})
	}
}

// A peer that refuses batches, or answers with nonsense, is left alone for a
// pause; what was handed to it does not come back.
func TestPeersThatRefuse(t *testing.T) {
	for name, answers := range map[string]func(http.ResponseWriter){
		"an error": func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
		"elsewhere": func(w http.ResponseWriter) {
			w.Header().Set("Location", "/x")
			w.WriteHeader(http.StatusTemporaryRedirect)
		},
		"much":     func(w http.ResponseWriter) { _, _ = io.WriteString(w, strings.Repeat(" ", maxReplyBytes+1)) },
		"an abort": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			var batches atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == HelloPath {
					_ = json.NewEncoder(w).Encode(Hello{Node: "n2", Protocol: protocol})
					return
				}
				if r.URL.Path != EnvelopesPath {
					t.Errorf("%s is asked for: nobody is followed elsewhere", r.URL.Path)
				}
				batches.Add(1)
				_, _ = io.Copy(io.Discard, r.Body)
				answers(w)
			}))
			defer server.Close()
			a := start(t)
			addr := server.Listener.Addr().String()
			a.send(t, addr, 1)
			for req := uint64(2); ; req++ {
				a.send(t, addr, req)
				if e := soon(a.failed); e != nil {
					if e.Req == 1 {
						t.Error("what was handed to it comes back")
					}
					break
				}
			}
			if n := batches.Load(); n == 0 {
				t.Error("nothing was sent to it")
			}
		})
	}
}

// A batch that a peer does not answer is given up, and its connection with it, at
// the last of its deadlines, or when its receiver would have given up as well.
func TestBatchesAreGivenUp(t *testing.T) {
	for deadline, want := range map[time.Duration]time.Duration{3 * time.Second: 3 * time.Second, id.MaxMessageAge: 20 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			ours, theirs := net.Pipe()
			a, err := New(Options{
				Self: "n1", Handler: newSink(), Mono: func() time.Duration { return time.Since(began) },
				Dial: func(context.Context, string) (net.Conn, error) { return ours, nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			for i, left := range []time.Duration{time.Second, deadline} {
				a.Send("n2:1", &core.Envelope{From: "n1", To: "n2", Req: core.ReqID(i), Deadline: left, Msg: &core.Read{Key: []byte("k")}})
			}
			from := bufio.NewReader(theirs)
			for range 2 { // the hello, and a batch
				r, err := http.ReadRequest(from)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r.Body); err != nil {
					t.Fatal(err)
				}
				if r.URL.Path == HelloPath {
					_, _ = io.WriteString(theirs, "HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n{\"node\":\"n2\",\"protocol\":1}")
				}
			}
			if _, err := from.ReadByte(); !errors.Is(err, io.EOF) || time.Since(began) != want {
				t.Errorf("with a deadline after %v the connection ended after %v with %v; want %v", deadline, time.Since(began), err, want)
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A length that is announced and never comes costs no memory, and a body that
// does not end costs its sender the connection.
func TestBodiesThatDoNotCome(t *testing.T) {
	b := start(t)
	b.bodies.timeout = 100 * time.Millisecond // before the first request
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n{", EnvelopesPath, wire.MaxJSONBytes)
	if err != nil {
		t.Fatal(err)
	}
	if !b.bodies.bytes.TryAcquire(maxBodies - firstBytes) {
		t.Error("a body that has not come takes room")
	}
	b.bodies.bytes.Release(maxBodies - firstBytes)
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(answer), "400") || !strings.Contains(string(answer), "within 100ms") {
		t.Errorf("the answer is %q: %v", answer, err)
	}
	if s := b.Stats(); s.Received.Messages != 0 || len(b.delivered) > 0 {
		t.Errorf("the stats count %+v", s)
	}
}

func TestEnvelopesPathByHand(t *testing.T) {
	b := start(t)
	client := &http.Client{}
	defer client.CloseIdleConnections()
	do := func(method, body string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+b.addr+EnvelopesPath, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		got, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, strings.TrimSpace(string(got))
	}
	for _, tt := range []struct {
		method, body string
		status       int
		want         string
	}{
		{http.MethodPost, `{"from":"x","envelopes":[{"req":"9","remaining":"1000000000","read":{"key":"aw=="}}]}`, 200, `{"delivered":1}`},
		{http.MethodPost, `{"from":"x","envelopes":[{"remaining":5}]}`, 200, `{"delivered":0,"unknown":1}`},
		{http.MethodPost, `{"from":"x","envelopes":[{"remaining":5,"applied":{}},{}]}`, 400, `envelope 2 of 2 from x: 0 ns remain`},
		{http.MethodPost, `hello`, 400, `{"delivered":0,"error":"invalid message`},
		{http.MethodGet, ``, 405, `use POST`},
	} {
		if status, got := do(tt.method, tt.body); status != tt.status || !strings.Contains(got, tt.want) {
			t.Errorf("%s %s: status %d: %s", tt.method, tt.body, status, got)
		}
	}
	if e := receive(t, "the read", b.delivered); e.From != "x" || e.Req != 9 {
		t.Errorf("the envelope %+v arrives", e)
	}
}

// The handlers need the server to say when a connection came in.
func TestConnectionsMustBeNoted(t *testing.T) {
	b := start(t)
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, EnvelopesPath, strings.NewReader(`{"from":"x"}`))
	b.Routes()[EnvelopesPath].ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	w = httptest.NewRecorder()
	r = r.WithContext(b.ConnContext(context.Background(), nil))
	b.Routes()[EnvelopesPath].ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "this node stops") {
		t.Errorf("a closed transport answers with %d: %s", w.Code, w.Body)
	}
}

// FuzzHello: a hello that is let through names a node.
func FuzzHello(f *testing.F) {
	requireCorpus(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		if err := checkHello(&http.Response{StatusCode: http.StatusOK}, body); err != nil {
			return
		}
		var hello Hello
		if err := json.Unmarshal(body, &hello); err != nil || hello.Node == "" || hello.Protocol < protocol {
			t.Errorf("%q is let through as %+v: %v", body, hello, err)
		}
	})
}

// FuzzFailure: whatever a peer answers, only a success is one.
func FuzzFailure(f *testing.F) {
	requireCorpus(f)
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if err := failure(status, body); (err == nil) != (status == http.StatusOK) {
			t.Errorf("status %d with %q is %v", status, body, err)
		}
	})
}
