package memnet

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/transport"
)

// Network connects the transports that are made with it. Its methods may be
// called from any goroutine, and faults take effect with the next message.
type Network struct {
	mu       sync.Mutex
	nodes    map[string]*Transport // those that listen
	cut      map[link]bool
	isolated map[string]bool
	loss     float64
	rng      *rand.Rand // which envelopes are lost
}

// link is one direction between two addresses.
type link struct{ from, to string }

// New returns a network without faults. Which envelopes it loses later is
// drawn from seed; the order of the draws is that of the goroutines.
func New(seed uint64) *Network {
	return &Network{
		nodes:    map[string]*Transport{},
		cut:      map[link]bool{},
		isolated: map[string]bool{},
		rng:      core.Stream(seed, "memnet"),
	}
}

// Transport returns a transport that listens on addr, any text that is not
// empty, until it is closed. Mono is the node's monotonic time.
func (n *Network) Transport(addr string, h transport.Handler, mono func() time.Duration) (*Transport, error) {
	if addr == "" {
		return nil, errors.New("memnet: the address is empty; any text that is not will do")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.nodes[addr] != nil {
		return nil, fmt.Errorf("memnet: address %s is in use; close its transport first", addr)
	}
	t := newTransport(n, addr, h, mono)
	n.nodes[addr] = t
	return t, nil
}

// Cut takes all messages between a and b, both ways.
func (n *Network) Cut(a, b string) {
	n.CutOneWay(a, b)
	n.CutOneWay(b, a)
}

// CutOneWay takes all messages of from to to.
func (n *Network) CutOneWay(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[link{from, to}] = true
}

// Isolate takes all messages of addr and to it.
func (n *Network) Isolate(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.isolated[addr] = true
}

// Lose takes each envelope with the probability p.
func (n *Network) Lose(p float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loss = p
}

// Heal ends all cuts, isolations and losses.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	clear(n.isolated)
	n.loss = 0
}

// Inject hands b to the node at addr as if a peer had sent it, and returns
// what that peer would see: nil or the node's error.
func (n *Network) Inject(addr string, b []byte) error {
	n.mu.Lock()
	to := n.nodes[addr]
	n.mu.Unlock()
	if to == nil || !to.enter() {
		return fmt.Errorf("memnet: nobody listens on %s", addr)
	}
	defer to.inbound.Done()
	return to.receive(b)
}

// fate is what becomes of a message.
type fate int

const (
	arrives fate = iota
	lost         // a fault took it
	refused      // nobody listens
)

// route decides over a message of envelopes; those that are lost are taken
// out. Where the fate is arrives, the receiver has been entered.
func (n *Network) route(l link, envelopes []core.Envelope) (to *Transport, left []core.Envelope, f fate) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut[l] || n.isolated[l.from] || n.isolated[l.to] {
		return nil, nil, lost
	}
	if to = n.nodes[l.to]; to == nil || !to.enter() {
		return nil, envelopes, refused
	}
	left = envelopes
	if n.loss > 0 {
		left = left[:0]
		for i := range envelopes {
			if n.rng.Float64() >= n.loss {
				left = append(left, envelopes[i])
			}
		}
	}
	if len(left) == 0 {
		to.inbound.Done()
		return nil, nil, lost
	}
	return to, left, arrives
}

// leave takes t off the network.
func (n *Network) leave(t *Transport) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.nodes[t.addr] == t {
		delete(n.nodes, t.addr)
	}
}
