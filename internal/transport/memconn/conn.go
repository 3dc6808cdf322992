package memconn

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// conn is one end of a connection.
type conn struct {
	n             *Network
	local, remote address
	in, out       *stream
	peer          *conn
	deadlines     deadlines
	dead          bool // closed, or its machine lost its power; guarded by the network's mu
}

// stream is one direction of a connection.
type stream struct {
	mu      sync.Mutex
	chunks  []chunk // on their way, oldest first
	size    int     // bytes in them
	ended   bool    // the sender has closed it
	changed chan struct{}
}

// chunk is what was written at once.
type chunk struct {
	at   time.Time // when it arrives
	data []byte
}

func newStream() *stream { return &stream{changed: make(chan struct{})} }

// signal wakes who waits for a change. The caller holds mu.
func (s *stream) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	for {
		w := c.waits()
		s := c.state()
		if err := s.toRead(w.read); err != nil {
			return 0, c.fail("read", err)
		}
		n, end, soon, changed := c.in.take(b, s.open)
		switch {
		case n > 0 || len(b) == 0:
			return n, nil
		case end:
			return 0, io.EOF
		}
		w.wait(w.read, changed, soon)
	}
}

// take moves what has arrived into b. Where there is nothing it returns when
// there will be, if that is known.
func (s *stream) take(b []byte, open bool) (n int, end bool, soon time.Time, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed = s.changed
	if !open {
		return 0, false, soon, changed
	}
	for n < len(b) && len(s.chunks) > 0 {
		first := &s.chunks[0]
		if time.Now().Before(first.at) {
			soon = first.at
			break
		}
		m := copy(b[n:], first.data)
		n += m
		if first.data = first.data[m:]; len(first.data) == 0 {
			s.chunks = s.chunks[1:]
		}
	}
	if n > 0 {
		s.size -= n
		s.signal()
	}
	return n, s.ended && len(s.chunks) == 0, soon, changed
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (written int, err error) {
	for len(b) > 0 {
		w := c.waits()
		if err := c.state().toWrite(w.write); err != nil {
			return written, c.fail("write", err)
		}
		n, changed := c.out.put(b)
		written += n
		b = b[n:]
		if n > 0 {
			continue
		}
		w.wait(w.write, changed, time.Time{})
	}
	return written, nil
}

// put takes as much of b as the window lets.
func (s *stream) put(b []byte) (n int, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = min(len(b), window-s.size)
	if n > 0 {
		s.chunks = append(s.chunks, chunk{at: time.Now().Add(latency), data: append([]byte(nil), b[:n]...)})
		s.size += n
		s.signal()
	}
	return n, s.changed
}

// state is how a connection stands for one end of it.
type state struct {
	dead   bool // this end is closed
	open   bool // what the peer sends arrives
	gone   bool // the peer is not there any more, as one hears from its machine
	closed bool // the peer has closed its end, and what it sent before can be read
}

func (c *conn) state() (s state) {
	c.n.mu.Lock()
	s.open = c.n.open(c.remote.host, c.local.host)
	s.dead, s.gone = c.dead, c.peer.dead && s.open
	c.n.mu.Unlock()
	c.in.mu.Lock()
	s.closed = c.in.ended
	c.in.mu.Unlock()
	return s
}

// toRead returns why nothing can be read, nil where something can.
func (s state) toRead(deadline time.Time) error {
	if s.gone && !s.closed {
		return syscall.ECONNRESET
	}
	return s.either(deadline)
}

// toWrite returns why nothing can be written, nil where something can.
func (s state) toWrite(deadline time.Time) error {
	if s.gone {
		return syscall.EPIPE
	}
	return s.either(deadline)
}

func (s state) either(deadline time.Time) error {
	switch {
	case s.dead:
		return net.ErrClosed
	case !deadline.IsZero() && !time.Now().Before(deadline):
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Close implements net.Conn. What was written still arrives.
func (c *conn) Close() error {
	c.out.mu.Lock()
	c.out.ended = true
	c.out.signal()
	c.out.mu.Unlock()
	c.n.change(func() { c.dead = true })
	return nil
}

// waiter has what who waits must hear of, and its deadlines as they were.
type waiter struct {
	network, deadlines <-chan struct{}
	read, write        time.Time
}

func (c *conn) waits() (w waiter) {
	c.n.mu.Lock()
	w.network = c.n.changed
	c.n.mu.Unlock()
	c.deadlines.mu.Lock()
	defer c.deadlines.mu.Unlock()
	w.deadlines = c.deadlines.changed
	w.read, w.write = c.deadlines.read, c.deadlines.write
	return w
}

// wait waits until something may have changed, until the deadline or the time
// soon at the latest, where there are these.
func (w waiter) wait(deadline time.Time, changed <-chan struct{}, soon time.Time) {
	until := deadline
	if until.IsZero() || !soon.IsZero() && soon.Before(until) {
		until = soon
	}
	var due <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		due = t.C
	}
	select {
	case <-changed:
	case <-w.network:
	case <-w.deadlines:
	case <-due:
	}
}

func (c *conn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "mem", Source: c.local, Addr: c.remote, Err: err}
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	c.deadlines.set(&t, &t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.deadlines.set(&t, nil)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.deadlines.set(nil, &t)
	return nil
}

// deadlines of one end; zero is none.
type deadlines struct {
	mu          sync.Mutex
	read, write time.Time
	changed     chan struct{} // closed at the next change
}

// set changes the deadlines that are given.
func (d *deadlines) set(read, write *time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if read != nil {
		d.read = *read
	}
	if write != nil {
		d.write = *write
	}
	close(d.changed)
	d.changed = make(chan struct{})
}
