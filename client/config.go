package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/dynamo-kv/dynamo/internal/id"
)

// Config says how a client behaves. Begin with [DefaultConfig] and change what
// you need: a zero field means zero and not the default.
type Config struct {
	// Timeout is the time that a request has unless it says otherwise: 1 ms to
	// 60 s.
	Timeout time.Duration
	// AttemptTimeout is the time that a node has to answer before the next one is
	// asked as well: 1 ms to 60 s. Nodes wait for each other for 300 ms unless
	// they are configured otherwise; it should be longer than that.
	AttemptTimeout time.Duration
	// Connections is how many connections there are to each node that is used:
	// 1 to 16. One is cheapest; more keep large values from delaying others.
	Connections int
	// TLS has every connection encrypted: it says whom the client trusts as a
	// node, by certificates for the hosts of their addresses, and with which
	// certificate of its own it comes. nil: none is. It is copied.
	TLS *tls.Config
	// Dial connects to the address of a node; nil is TCP. With TLS it is what
	// TLS is spoken over.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Logger gets what the client has to say; nil drops it.
	Logger *slog.Logger
}

// The bounds of a timeout, which are those of the nodes.
const (
	minTimeout = time.Millisecond
	maxTimeout = id.MaxMessageAge
)

// maxConnections bounds Config.Connections.
const maxConnections = 16

// DefaultConfig returns the configuration that New uses for nil.
func DefaultConfig() *Config {
	return &Config{Timeout: 2 * time.Second, AttemptTimeout: 500 * time.Millisecond, Connections: 1}
}

// Validate returns nil, or an error that wraps ErrInvalidConfig and names
// every fault.
func (c *Config) Validate() error {
	if c == nil {
		return fmt.Errorf("%w: the Config is nil; begin with DefaultConfig", ErrInvalidConfig)
	}
	return c.check(nil)
}

// check finds all that is wrong with the configuration and the faults before.
func (c *Config) check(faults []error) error {
	duration := func(name string, d, usual time.Duration) {
		if d < minTimeout || d > maxTimeout {
			faults = append(faults, fmt.Errorf("%s is %v; %v to %v are allowed: %v suits most programs", name, d, minTimeout, maxTimeout, usual))
		}
	}
	usual := DefaultConfig()
	duration("Timeout", c.Timeout, usual.Timeout)
	duration("AttemptTimeout", c.AttemptTimeout, usual.AttemptTimeout)
	if c.Connections < 1 || c.Connections > maxConnections {
		faults = append(faults, fmt.Errorf("%s is %d; 1 to %d are allowed: 1 suits most programs", "Connections", c.Connections, maxConnections))
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalidConfig, errors.Join(faults...))
}

// checkAddrs finds what is wrong with the addresses given to New.
func checkAddrs(addrs []string) (faults []error) {
	if len(addrs) == 0 {
		faults = append(faults, errors.New("no addresses were given: give that of one node of the cluster at least"))
	}
	for _, addr := range addrs {
		if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" {
			faults = append(faults, fmt.Errorf("an address is %q; host:port is allowed: write it like 10.0.0.1:7171", addr))
		}
	}
	return faults
}
