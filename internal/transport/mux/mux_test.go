package mux

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/transport/grpcstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipes is a listener whose connections are made by dial: they live in the
// bubbles of synctest.
type pipes struct {
	conns chan net.Conn
	fails chan error
	done  chan struct{}
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), fails: make(chan error), done: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case err := <-p.fails:
		return nil, err
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.done)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (p *pipes) dial(tb testing.TB) net.Conn {
	tb.Helper()
	near, far := net.Pipe()
	p.conns <- far
	tb.Cleanup(func() { _ = near.Close() })
	return near
}

// inBubble runs f with a Mux whose Close it checks.
func inBubble(t *testing.T, f func(t *testing.T, p *pipes, m *Mux)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		m := New(p, slog.New(slog.DiscardHandler))
		f(t, p, m)
		for range 2 {
			if err := m.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	})
}

// accepted starts to accept from ln until it is closed.
func accepted(ln net.Listener) <-chan net.Conn {
	c := make(chan net.Conn, 10)
	go func() {
		defer close(c)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			c <- conn
		}
	}()
	return c
}

func TestToldApart(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		http2 bool
	}{
		"the preface":          {preface, true},
		"the preface and more": {preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00", true},
		"GET":                  {"GET /health HTTP/1.1\r\n\r\n", false},
		"PUT":                  {"PUT /v1/kv/k HTTP/1.1\r\n\r\n", false},
		"nearly the preface":   {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r!", false},
		"PRI with HTTP/1.1":    {"PRI * HTTP/1.1\r\n\r\n", false},
		"a TLS hello":          {"\x16\x03\x01\x02\x00", false},
		"one byte":             {"x", false},
	} {
		for _, pieces := range []int{1, 7, len(c.text)} {
			t.Run(name, func(t *testing.T) {
				inBubble(t, func(t *testing.T, p *pipes, m *Mux) {
					right, wrong := accepted(m.HTTP1()), accepted(m.HTTP2())
					if c.http2 {
						right, wrong = wrong, right
					}
					client, handed := p.dial(t), make(chan struct{})
					go func() {
						for text := c.text; text != ""; {
							n := min(pieces, len(text))
							_, _ = io.WriteString(client, text[:n])
							text = text[n:]
						}
						<-handed // a pipe refuses deadlines once it is closed
						_ = client.Close()
					}()
					conn := <-right
					close(handed)
					got, err := io.ReadAll(conn)
					if string(got) != c.text || err != nil {
						t.Errorf("the connection reads %q, %v; the client sent %q", got, err, c.text)
					}
					_ = conn.Close()
					if len(wrong) > 0 {
						t.Error("the other listener has a connection too")
					}
				})
			})
		}
	}
}

// pass lets the bubble's time go by.
func pass(d time.Duration) { <-time.After(d) }

// A deadline for the first bytes must not strike later.
func TestDeadlineIsLifted(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipes, m *Mux) {
		conns := accepted(m.HTTP1())
		client := p.dial(t)
		go func() {
			_, _ = io.WriteString(client, "G")
			pass(10 * speakWithin)
			_, _ = io.WriteString(client, "ET")
			_ = client.Close()
		}()
		conn := <-conns
		defer func() { _ = conn.Close() }()
		if got, err := io.ReadAll(conn); string(got) != "GET" || err != nil {
			t.Errorf("the connection reads %q, %v", got, err)
		}
	})
}

// ended says whether the other end of c was closed, without any bytes.
func ended(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(time.Nanosecond))
	_, err := c.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

func TestWhoeverIsSilentIsClosed(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipes, m *Mux) {
		silent, slow := p.dial(t), p.dial(t)
		var writing sync.WaitGroup
		defer writing.Wait()
		writing.Go(func() {
			for i := range preface {
				if _, err := io.WriteString(slow, preface[i:i+1]); err != nil {
					return
				}
				pass(time.Second)
			}
		})
		gone := p.dial(t)
		_, _ = io.WriteString(gone, "PRI")
		_ = gone.Close()

		pass(speakWithin - time.Second/2)
		synctest.Wait()
		if ended(silent) || ended(slow) {
			t.Errorf("a connection is closed before %s", speakWithin)
		}
		pass(time.Second)
		synctest.Wait()
		if !ended(silent) || !ended(slow) {
			t.Errorf("a connection that has not said what it speaks is open after %s", speakWithin)
		}
		if n := m.silent.Len(); n > 0 {
			t.Errorf("%d connections are still waited for", n)
		}
	})
}

func TestSilentConnectionsAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipes, m *Mux) {
		var clients []net.Conn
		for range maxSilent + 3 {
			clients = append(clients, p.dial(t))
		}
		synctest.Wait()
		for i, c := range clients {
			if ended(c) != (i < 3) {
				t.Fatalf("connection %d of %d is closed: %v; the 3 that were silent for longest should be", i+1, len(clients), i >= 3)
			}
		}
		conns := accepted(m.HTTP1())
		if _, err := io.WriteString(p.dial(t), "GET"); err != nil {
			t.Errorf("whoever speaks is not served: %v", err)
		}
		_ = (<-conns).Close()
	})
}

func TestClose(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipes, m *Mux) {
		silent, spoken := p.dial(t), p.dial(t)
		_, _ = io.WriteString(spoken, "GET") // nobody accepts it
		synctest.Wait()
		results := make(chan error, 2)
		go func() {
			_, err := m.HTTP2().Accept()
			results <- err
		}()
		if err := m.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if !ended(silent) || !ended(spoken) {
			t.Error("a connection that nobody has accepted is open after Close")
		}
		if err := <-results; !errors.Is(err, net.ErrClosed) {
			t.Errorf("an Accept that waits returns %v", err)
		}
		if _, err := m.HTTP1().Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("an Accept after Close returns %v", err)
		}
	})
}

// A server that stops closes its listener; the other one goes on.
func TestCloseOfOneListener(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipes, m *Mux) {
		conns := accepted(m.HTTP2())
		for range 2 {
			if err := m.HTTP1().Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		http1, http2 := p.dial(t), p.dial(t)
		_, _ = io.WriteString(http1, "GET")
		_, _ = io.WriteString(http2, preface)
		_ = (<-conns).Close()
		synctest.Wait()
		if !ended(http1) {
			t.Error("a connection for the listener that is closed stays open")
		}
	})
}

// Running out of file descriptors, for one, passes.
func TestAcceptIsTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipes, m *Mux) {
		began := time.Now()
		for range 10 {
			p.fails <- errors.New("too many open files")
		}
		conns := accepted(m.HTTP1())
		_, _ = io.WriteString(p.dial(t), "GET")
		_ = (<-conns).Close()
		// 5 + 10 + … + 640 ms, then seconds; the last pause ends with the dial.
		if took := time.Since(began); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("ten failures took %s", took)
		}
	})
}

type sink chan *core.Envelope

func (s sink) Deliver(e *core.Envelope)    { s <- e }
func (s sink) SendFailed(e *core.Envelope) { s <- e }

// The real thing: a node's transport and an HTTP server on one address.
func TestOneAddressServesBoth(t *testing.T) {
	var config net.ListenConfig
	ln, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := New(ln, slog.New(slog.DiscardHandler))
	got := make(sink, 1)
	began := time.Now()
	node, err := grpcstream.New(grpcstream.Options{
		Self: "n1", Handler: got, Mono: func() time.Duration { return time.Since(began) },
	})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }),
	}
	served := make(chan error, 2)
	go func() { served <- node.Serve(m.HTTP2()) }()
	go func() { served <- server.Serve(m.HTTP1()) }()

	e := &core.Envelope{From: "n1", To: "n1", Req: 3, Deadline: time.Minute, Msg: &core.Read{Key: []byte("k")}}
	if !node.Send(ln.Addr().String(), e) {
		t.Fatal("the envelope is not accepted")
	}
	if e := <-got; e.Req != 3 {
		t.Errorf("envelope %d arrives", e.Req)
	}
	body := bytes.Repeat([]byte("PRI * HTTP/2.0\r\n\r\n"), 1000)
	if reply := post(t, "http://"+ln.Addr().String()+"/", body); !bytes.Equal(reply, body) {
		t.Errorf("%d bytes come back for %d", len(reply), len(body))
	}

	if err := errors.Join(server.Close(), node.Close(), m.Close()); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-served; err != nil && !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serving: %v", err)
		}
	}
}

func post(t *testing.T, url string, body []byte) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	reply, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}
