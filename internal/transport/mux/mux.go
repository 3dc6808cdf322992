package mux

import (
	"container/list"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// preface is how every HTTP/2 connection begins (RFC 9113, section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

const (
	// speakWithin is the time that a connection has to show what it speaks:
	// a TLS handshake and some round trips around the world.
	speakWithin = 10 * time.Second

	// maxSilent bounds the connections that have not shown it yet. A client
	// speaks at once, so these are as many as connect within a round trip.
	maxSilent = 1024

	// Accept fails for a while when the process has no file descriptors left;
	// it is tried again after pauses that double.
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
)

// Mux splits a listener. Its methods may be called from any goroutine.
type Mux struct {
	ln           net.Listener
	logger       *slog.Logger
	http1, http2 *listener
	done         chan struct{} // closed by Close
	running      sync.WaitGroup

	mu     sync.Mutex
	closed bool
	silent *list.List // of net.Conn, the longest silent first
}

// New starts to split what ln accepts; ln is the Mux's from now on.
func New(ln net.Listener, logger *slog.Logger) *Mux {
	m := &Mux{ln: ln, logger: logger, done: make(chan struct{}), silent: list.New()}
	m.http1, m.http2 = newListener(m), newListener(m)
	m.running.Go(m.accept)
	return m
}

// HTTP1 returns the listener for all connections but those of HTTP/2. The
// Accept of both listeners returns net.ErrClosed once they or the Mux are
// closed; closing one refuses its connections and leaves the other open.
func (m *Mux) HTTP1() net.Listener { return m.http1 }

// HTTP2 returns the listener for the connections of HTTP/2.
func (m *Mux) HTTP2() net.Listener { return m.http2 }

// Close stops listening, closes the connections that nobody has accepted yet
// and waits for all goroutines. It is idempotent.
func (m *Mux) Close() error {
	if !m.close() {
		m.running.Wait()
		return nil
	}
	close(m.done)
	err := m.ln.Close()
	m.running.Wait()
	return err
}

// close closes the silent connections and says whether it was the first call.
func (m *Mux) close() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	first := !m.closed
	m.closed = true
	for e := m.silent.Front(); e != nil; e = e.Next() {
		_ = e.Value.(net.Conn).Close()
	}
	return first
}

func (m *Mux) accept() {
	pause := firstPause
	for {
		c, err := m.ln.Accept()
		switch {
		case err == nil:
			pause = firstPause
			m.add(c)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			m.logger.Warn("a connection cannot be accepted", "addr", m.ln.Addr().String(), "pause", pause, "error", err)
			if !m.wait(pause) {
				return
			}
			pause = min(2*pause, lastPause)
		}
	}
}

// wait returns after the pause, or with false on Close.
func (m *Mux) wait(pause time.Duration) bool {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-m.done:
		return false
	}
}

// add starts a goroutine that waits for what c speaks.
func (m *Mux) add(c net.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		_ = c.Close()
		return
	}
	if m.silent.Len() >= maxSilent {
		oldest := m.silent.Front()
		_ = m.silent.Remove(oldest).(net.Conn).Close() // its goroutine ends with an error
	}
	e := m.silent.PushBack(c)
	m.running.Go(func() { m.route(c, e) })
}

// route hands c to the listener for what it speaks.
func (m *Mux) route(c net.Conn, e *list.Element) {
	to, head, err := m.listen(c)
	m.mu.Lock()
	m.silent.Remove(e) // nothing happens when it was removed to make room
	m.mu.Unlock()
	if err != nil || !to.hand(&conn{Conn: c, head: head}) {
		_ = c.Close()
	}
}

// listen reads from c until it is clear what it speaks.
func (m *Mux) listen(c net.Conn) (to *listener, head []byte, err error) {
	if err := c.SetReadDeadline(time.Now().Add(speakWithin)); err != nil {
		return nil, nil, err
	}
	head = make([]byte, 0, len(preface))
	for to == nil {
		n, err := c.Read(head[len(head):cap(head)])
		head = head[:len(head)+n]
		switch {
		case n > 0 && string(head) == preface:
			to = m.http2
		case n > 0 && string(head) != preface[:len(head)]:
			to = m.http1
		case err != nil:
			return nil, nil, err
		case n == 0:
			return nil, nil, io.ErrNoProgress
		}
	}
	return to, head, c.SetReadDeadline(time.Time{})
}

// conn is a connection whose first bytes have been read already.
type conn struct {
	net.Conn
	head []byte // of these, what has not been read again; one goroutine reads
}

func (c *conn) Read(b []byte) (int, error) {
	if len(c.head) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.head)
	c.head = c.head[n:]
	return n, nil
}

// listener is one side of a Mux.
type listener struct {
	m     *Mux
	conns chan net.Conn
	done  chan struct{} // closed by Close
	once  sync.Once
}

func newListener(m *Mux) *listener {
	return &listener{m: m, conns: make(chan net.Conn), done: make(chan struct{})}
}

// hand waits until c is accepted. False: nobody will any more.
func (l *listener) hand(c net.Conn) bool {
	select {
	case l.conns <- c:
		return true
	case <-l.done:
	case <-l.m.done:
	}
	return false
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
	case <-l.m.done:
	}
	return nil, &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: net.ErrClosed}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *listener) Addr() net.Addr { return l.m.ln.Addr() }
