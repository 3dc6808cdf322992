package memconn

import (
	"context"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	// latency is the time that bytes are on their way: that of a local network
	// with some work at both ends.
	latency = 200 * time.Microsecond

	// window is how much may be on its way in one direction of a connection
	// before the sender has to wait: what TCP begins with.
	window = 64 << 10

	// firstPort is the first one that is given to who asks for port 0.
	firstPort = 40_000
)

// Network connects machines, which are known by the host of their addresses.
// Its methods may be called from any goroutine.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*listener // by address
	conns     []*conn              // one end of each connection
	cuts      map[way]bool
	off       map[string]bool // machines without power
	nextPort  int
	changed   chan struct{} // closed at the next change of any of the above
}

// way is one direction between two machines.
type way struct{ from, to string }

// New returns a network without faults.
func New() *Network {
	return &Network{
		listeners: make(map[string]*listener), cuts: make(map[way]bool), off: make(map[string]bool),
		nextPort: firstPort, changed: make(chan struct{}),
	}
}

// Cut holds up from now on what one machine sends to another.
func (n *Network) Cut(from, to string) {
	n.change(func() { n.cuts[way{from, to}] = true })
}

// Split cuts all ways between the machines of two sides.
func (n *Network) Split(a, b []string) {
	for _, x := range a {
		for _, y := range b {
			n.Cut(x, y)
			n.Cut(y, x)
		}
	}
}

// Heal opens all ways.
func (n *Network) Heal() { n.change(func() { clear(n.cuts) }) }

// PowerOff takes a machine's power. Its own connections and listeners end at
// once; the others notice nothing but its silence.
func (n *Network) PowerOff(host string) {
	n.change(func() {
		n.off[host] = true
		for addr, l := range n.listeners {
			if l.host == host {
				l.closed = true
				delete(n.listeners, addr)
			}
		}
		for _, c := range n.conns {
			for _, end := range []*conn{c, c.peer} {
				if end.local.host == host {
					end.dead = true
				}
			}
		}
	})
}

// PowerOn gives a machine its power back. It knows nothing of its old
// connections and resets them as soon as it can.
func (n *Network) PowerOn(host string) { n.change(func() { delete(n.off, host) }) }

// change carries a change out and wakes who waits for one.
func (n *Network) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	n.conns = slices.DeleteFunc(n.conns, func(c *conn) bool { return c.dead && c.peer.dead })
	close(n.changed)
	n.changed = make(chan struct{})
}

// open says whether what from sends reaches to. The caller holds mu.
func (n *Network) open(from, to string) bool {
	return !n.cuts[way{from, to}] && !n.off[from] && !n.off[to]
}

// Listen listens on an address, whose host names the machine; port 0 stands
// for one that is free.
func (n *Network) Listen(addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	l := &listener{n: n, host: host, wake: make(chan struct{}, 1)}
	n.mu.Lock()
	defer n.mu.Unlock()
	if port == "0" {
		port = strconv.Itoa(n.nextPort)
		n.nextPort++
	}
	l.addr = net.JoinHostPort(host, port)
	if n.listeners[l.addr] != nil {
		return nil, &net.OpError{Op: "listen", Net: "mem", Addr: address{host, l.addr}, Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
	}
	n.listeners[l.addr] = l
	close(n.changed)
	n.changed = make(chan struct{})
	return l, nil
}

// Dialer returns what connects from a machine.
func (n *Network) Dialer(host string) func(ctx context.Context, addr string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) { return n.dial(ctx, host, addr) }
}

// dial connects from a machine to an address. It waits while no answer would
// come.
func (n *Network) dial(ctx context.Context, from, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "mem", Addr: address{host, addr}, Err: err}
	}
	for {
		n.mu.Lock()
		changed, up := n.changed, !n.off[from]
		answered := n.open(from, host) && n.open(host, from)
		l := n.listeners[addr]
		if up && answered && l != nil {
			c := n.connect(from, l)
			n.mu.Unlock()
			l.notify()
			return c, nil
		}
		n.mu.Unlock()
		switch {
		case !up:
			return fail(syscall.ENETDOWN)
		case answered:
			return fail(os.NewSyscallError("connect", syscall.ECONNREFUSED))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fail(ctx.Err())
		}
	}
}

// connect makes a connection and hands its other end to the listener. The
// caller holds mu.
func (n *Network) connect(from string, l *listener) *conn {
	here := address{from, net.JoinHostPort(from, strconv.Itoa(n.nextPort))}
	n.nextPort++
	there := address{l.host, l.addr}
	out, in := newStream(), newStream()
	a := &conn{n: n, local: here, remote: there, in: in, out: out}
	b := &conn{n: n, local: there, remote: here, in: out, out: in, peer: a}
	a.peer = b
	a.deadlines.changed, b.deadlines.changed = make(chan struct{}), make(chan struct{})
	n.conns = append(n.conns, a)
	l.waiting = append(l.waiting, b)
	return a
}

// address is one end of a connection.
type address struct{ host, addr string }

func (address) Network() string  { return "mem" }
func (a address) String() string { return a.addr }

// listener is a net.Listener.
type listener struct {
	n          *Network
	host, addr string
	wake       chan struct{} // holds one token when there may be something to accept

	waiting []*conn // guarded by the network's mu
	closed  bool
}

func (l *listener) notify() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		l.n.mu.Lock()
		changed := l.n.changed
		var c *conn
		if len(l.waiting) > 0 {
			c = l.waiting[0]
			l.waiting = l.waiting[1:]
		}
		closed := l.closed
		l.n.mu.Unlock()
		switch {
		case closed:
			return nil, &net.OpError{Op: "accept", Net: "mem", Addr: l.Addr(), Err: net.ErrClosed}
		case c != nil:
			return c, nil
		}
		select {
		case <-l.wake:
		case <-changed:
		}
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	var waiting []*conn
	l.n.change(func() {
		l.closed = true
		waiting, l.waiting = l.waiting, nil
		if l.n.listeners[l.addr] == l {
			delete(l.n.listeners, l.addr)
		}
	})
	for _, c := range waiting {
		_ = c.Close() // it never fails
	}
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return address{l.host, l.addr} }
