package client

// Addrs returns the addresses of the nodes that the client knows, and how many
// of the partitions have owners.
func Addrs(c *Client) (addrs []string, width int) {
	t := c.topology.Load()
	for _, m := range t.nodes {
		addrs = append(addrs, m.addr)
	}
	return addrs, t.width
}
