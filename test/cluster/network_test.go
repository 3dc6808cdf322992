package cluster

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
)

// network is a router and machines with an address and a cable to it each, all
// in namespaces. The router drops what a machine sends to another one where
// the way between them is cut, as silently as a cable does, and only that way.
// Clients are at the router, so that they reach every machine at all times.
type network struct {
	t      *testing.T
	router *namespace
	hosts  []*namespace
	cuts   map[[2]int]bool // ways that are cut, from and to
}

// routerAddr is the address of the router, and so of clients.
const routerAddr = "10.99.0.254"

func hostAddr(i int) string   { return fmt.Sprintf("10.99.0.%d", i+1) }
func hostDevice(i int) string { return fmt.Sprintf("host%d", i+1) }

// newNetwork connects that many machines.
func newNetwork(t *testing.T, machines int) *network {
	t.Helper()
	n := &network{t: t, cuts: make(map[[2]int]bool)}
	n.router = n.namespace()
	n.must(n.router.forward())
	n.ip(n.router, "link", "set", "lo", "up")
	n.ip(n.router, "addr", "add", routerAddr+"/32", "dev", "lo")
	for i := range machines {
		h := n.namespace()
		n.hosts = append(n.hosts, h)
		n.ip(n.router, "link", "add", hostDevice(i), "type", "veth", "peer", "name", "eth0", "netns", h.path())
		n.ip(n.router, "link", "set", hostDevice(i), "up")
		n.ip(n.router, "route", "add", hostAddr(i), "dev", hostDevice(i), "src", routerAddr)
		n.ip(h, "link", "set", "lo", "up")
		n.ip(h, "addr", "add", hostAddr(i)+"/32", "dev", "eth0")
		n.ip(h, "link", "set", "eth0", "up")
		n.ip(h, "route", "add", routerAddr, "dev", "eth0")
		n.ip(h, "route", "add", "default", "via", routerAddr)
	}
	return n
}

func (n *network) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// namespace makes one, and ends it with the test.
func (n *network) namespace() *namespace {
	n.t.Helper()
	made, err := newNamespace()
	n.must(err)
	n.t.Cleanup(made.close)
	return made
}

func (n *network) ip(in *namespace, args ...string) {
	n.t.Helper()
	n.must(in.run("ip", args...))
}

// cut drops from now on what one machine sends to another.
func (n *network) cut(from, to int) { n.rule("add", from, to) }

// rule adds the rule that cuts a way, or deletes it.
func (n *network) rule(what string, from, to int) {
	n.t.Helper()
	if way := [2]int{from, to}; n.cuts[way] == (what == "del") {
		n.ip(n.router, "rule", what, "iif", hostDevice(from), "to", hostAddr(to), "blackhole")
		n.cuts[way] = what == "add"
	}
}

// split cuts all ways between machines of one side and all others.
func (n *network) split(side ...int) {
	n.t.Helper()
	in := make(map[int]bool)
	for _, i := range side {
		in[i] = true
	}
	for a := range n.hosts {
		for b := range n.hosts {
			if in[a] != in[b] {
				n.cut(a, b)
			}
		}
	}
}

// heal opens all ways.
func (n *network) heal() {
	n.t.Helper()
	for a := range n.hosts {
		for b := range n.hosts {
			if n.cuts[[2]int{a, b}] {
				n.rule("del", a, b)
			}
		}
	}
}

// client returns an HTTP client at the router.
func (n *network) client() *http.Client {
	dial := func(ctx context.Context, netw, addr string) (c net.Conn, err error) {
		n.router.do(func() {
			var d net.Dialer
			c, err = d.DialContext(ctx, netw, addr)
		})
		return c, err
	}
	transport := &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 64}
	n.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 2 * patientRequest}
}
