package client_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// cutter dials, and can cut all that it has dialled.
type cutter struct {
	mu    sync.Mutex
	conns []net.Conn
	n     int // that were cut
}

func newCutter() *cutter { return new(cutter) }

func (c *cutter) dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err == nil {
		c.mu.Lock()
		c.conns = append(c.conns, conn)
		c.mu.Unlock()
	}
	return conn, err
}

// all cuts every connection.
func (c *cutter) all() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.n += len(c.conns)
	c.conns = nil
}

// open returns how many connections are not closed.
func (c *cutter) open() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		if !errors.Is(conn.SetDeadline(time.Time{}), net.ErrClosed) {
			n++
		}
	}
	return n
}

func (c *cutter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}
