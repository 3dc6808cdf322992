package client

import "time"

// Addrs returns the addresses of the nodes that the client knows, and how many
// of the partitions have owners.
func Addrs(c *Client) (addrs []string, width int) {
	t := c.topology.Load()
	for _, m := range t.nodes {
		addrs = append(addrs, m.addr)
	}
	return addrs, t.width
}

// Slow returns the p99 of the answers of the node at an address, 0 where it is not
// known.
func Slow(c *Client, addr string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Duration(c.nodes[addr].slow.Load())
}

// Pending returns how many attempts wait for an answer.
func Pending(c *Client) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.nodes {
		for _, l := range one.links {
			l.mu.Lock()
			n += len(l.queue) + len(l.pending)
			l.mu.Unlock()
		}
	}
	return n
}

// Spend has the client believe that it has repeated as many requests as it may.
func (c *Client) Spend() { c.budget.spent.Store(maxSpent) }

// Overload has the client believe that all nodes turn all requests away, for as
// long as a test lasts, and that it has repeated as many as it may.
func (c *Client) Overload() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		n.throttle.at, n.throttle.away = time.Hour, 1e15
	}
	c.Spend()
}
