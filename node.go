package dynamo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/metrics"
	"github.com/dynamo-kv/dynamo/internal/server"
	"github.com/dynamo-kv/dynamo/internal/storage/engines"
)

// joinTimeout is the time that Join has: some tens of rounds of gossip, and a
// layout written to two disks.
const joinTimeout = 30 * time.Second

// Node is a member of a cluster, inside this process. Its methods may be
// called by several goroutines at once.
type Node struct {
	id      id.Node
	listen  string // as given to NewNode
	cfg     *Config
	logger  *slog.Logger
	machine machine
	shown   *metrics.Collector // of whatever the parts are

	parts atomic.Pointer[parts] // what a started node is made of; see renew
	done  chan struct{}         // closed when the node has stopped

	mu      sync.Mutex // guards what follows; held while the node starts or stops
	stopped bool

	failure atomic.Pointer[error] // why the node stopped by itself
}

// NewNode returns a node that is not started: it checks its arguments and
// opens nothing. id is the node's name, stable over restarts and unique in
// its cluster: 1 to 64 of the characters A-Z a-z 0-9 . _ -. listenAddr is the
// host:port on which the node serves clients and other nodes; port 0 chooses
// a free one. A nil cfg is [DefaultConfig]. cfg is copied.
//
// The error wraps ErrInvalidConfig and names every fault at once.
func NewNode(id, listenAddr string, cfg *Config) (*Node, error) {
	return newNode(id, listenAddr, cfg, machine{listen: listen})
}

// newNode returns a node that runs on m.
func newNode(id, listenAddr string, cfg *Config, m machine) (*Node, error) {
	if cfg == nil {
		cfg = DefaultConfig()
	}
	self, err := checkNode(id, listenAddr, cfg)
	if err != nil {
		return nil, err
	}
	n := &Node{id: self, listen: listenAddr, cfg: cfg.clone(), logger: cfg.Logger, machine: m, done: make(chan struct{})}
	if n.logger == nil {
		n.logger = slog.New(slog.DiscardHandler)
	}
	n.logger = n.logger.With("node", id)
	n.shown = metrics.New(n.reading)
	return n, nil
}

// checkNode finds all that is wrong with the arguments of NewNode.
func checkNode(name, listen string, cfg *Config) (id.Node, error) {
	var f faults
	self, err := id.ParseNode(name)
	if err != nil {
		f = append(f, err)
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		f.check(false, "the listening address is %q; host:port is allowed: write it like 127.0.0.1:7171", listen)
	} else {
		_, err := strconv.ParseUint(port, 10, 16)
		f.check(err == nil, "the listening address is %q; ports 0 to 65535 are allowed: 0 chooses a free one", listen)
		f.check(!unspecified(host) || cfg.AdvertiseAddr != "",
			"AdvertiseAddr is empty and the node listens on all interfaces (%q): "+
				"set it to the host:port at which other nodes reach this one; port 0 stands for the listening port", listen)
	}
	if err := cfg.Validate(); err != nil {
		return "", errors.Join(err, errors.Join(f...))
	}
	return self, invalidConfig(f)
}

// Start opens the storage, listens and begins to take part in the cluster. It
// is listening when it returns, and serving unless it has Seeds to wait for. A
// node that has failed to start may be started again; one that has been
// stopped may not.
func (n *Node) Start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped {
		return n.stoppedError("start")
	}
	if n.parts.Load() != nil {
		return &Error{Op: "start", Kind: ErrAlreadyStarted}
	}
	p, err := n.assemble(n.listen, n.cfg.Seeds)
	if err != nil {
		return fmt.Errorf("dynamo: start: %w", err)
	}
	n.parts.Store(p)
	go n.watch(p)
	if len(n.cfg.Seeds) == 0 {
		p.awaitServing()
	}
	return nil
}

// watch stops the node when it has failed. It ends with the node.
func (n *Node) watch(p *parts) {
	var err error
	select {
	case <-n.done:
	case err = <-p.failed:
	case <-p.runtime.Done():
		err = p.runtime.Err()
	}
	if err == nil {
		return
	}
	if errors.Is(err, core.ErrOldDisk) {
		if err = n.renew(p, err); err == nil {
			return
		}
	}
	n.failure.Store(&err)
	n.logger.Error("the node stops after a failure", "error", err)
	if err := n.Stop(); err != nil {
		n.logger.Error("the node did not stop in order", "error", err)
	}
}

// renew sets the node's data aside, since it is an old copy, and begins anew
// with an empty data directory among the members that are known.
func (n *Node) renew(p *parts, why error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped {
		return nil
	}
	n.logger.Error("the node sets its data aside and begins anew", "reason", why)
	seeds := slices.Clone(n.cfg.Seeds)
	for _, m := range p.runtime.Status().Members {
		if m.ID != n.id && m.State != core.Left && !slices.Contains(seeds, m.Addr) {
			seeds = append(seeds, m.Addr)
		}
	}
	if err := p.stop(); err != nil {
		return fmt.Errorf("setting the data aside: %w", err)
	}
	folder, err := engines.SetAside(n.storage())
	if err != nil {
		return err
	}
	fresh, err := n.assemble(p.bound, seeds[:min(len(seeds), maxSeeds)])
	if err != nil {
		return fmt.Errorf("beginning anew: %w", err)
	}
	n.logger.Warn("the node's old data is set aside", "folder", folder)
	n.parts.Store(fresh)
	close(p.replaced)
	go n.watch(fresh)
	return nil
}

// Addr returns the host:port at which other nodes and clients reach this
// node. Before Start it is the one that NewNode was given.
func (n *Node) Addr() string {
	if p := n.parts.Load(); p != nil {
		return p.addr
	}
	return n.listen
}

// ID returns the node's name.
func (n *Node) ID() string { return string(n.id) }

// Join makes the node a member of the cluster that the nodes at the addresses
// belong to, and returns when it knows the cluster and its layout. The node
// must be alone and hold no keys, or be a member already. Set Config.Seeds
// instead where a node is to wait for its cluster for as long as it takes.
//
// Errors are ErrJoinRefused, ErrTimeout after 30 seconds without an answer,
// and ErrStopped.
func (n *Node) Join(seeds []string) error {
	var f faults
	f.check(len(seeds) > 0, "no seeds were given: give the address of one node of the cluster at least")
	for _, seed := range seeds {
		f.address("seeds", seed, false)
	}
	if len(f) > 0 {
		return &Error{Op: "join", Kind: ErrInvalidRequest, Detail: errors.Join(f...).Error()}
	}
	p, e := n.running("join")
	if e != nil {
		return e
	}
	for {
		reply := p.runtime.Join(context.Background(), seeds, joinTimeout)
		switch reply.Result.Code {
		case core.CodeOK:
			return nil
		case core.CodeStopped:
			if p = n.successor(context.Background(), p); p == nil {
				return n.stoppedError("join")
			}
		default:
			return &Error{Op: "join", Kind: kindOf(reply.Result.Code), Detail: reply.Detail}
		}
	}
}

// Ready waits until the node serves and its layout has N owners with nothing
// left to copy: from then on the cluster does without N-W nodes for writes
// and N-R for reads. Where ctx ends first, the error says what is missing.
func (n *Node) Ready(ctx context.Context) error {
	p, e := n.running("ready")
	if e != nil {
		return e
	}
	for {
		changed := p.runtime.Changed()
		missing := notReady(p.runtime.Status())
		if missing == "" {
			return nil
		}
		select {
		case <-changed:
		case <-p.replaced:
			p = n.parts.Load()
		case <-n.done:
			return n.stoppedError("ready")
		case <-ctx.Done():
			return &Error{Op: "ready", Kind: endOf(ctx), Detail: missing, Cause: ctx.Err()}
		}
	}
}

// Status returns what the node knows of its cluster. Before Start and after
// Stop it says that the node does not serve.
func (n *Node) Status() Status {
	p, err := n.running("status")
	if err != nil {
		return Status{Node: string(n.id), WaitsFor: err.Kind.Error(), Layout: Layout{Replicas: n.cfg.N}, UnderReplicated: true}
	}
	return statusOf(p.runtime.Status())
}

// Stop ends the node: it takes no more requests, gives those under way a
// second, and closes everything. It is idempotent, and a second caller waits
// for the first. A stopped node cannot be started again.
func (n *Node) Stop() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped {
		return nil
	}
	n.stopped = true
	defer close(n.done)
	p := n.parts.Load()
	if p == nil {
		return nil
	}
	if err := p.stop(); err != nil {
		return fmt.Errorf("dynamo: stop: %w", err)
	}
	return nil
}

// Done is closed when the node has stopped: by Stop, or by itself after a
// failure, which Err then returns.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err returns the failure after which the node stopped by itself, nil where
// there is none.
func (n *Node) Err() error {
	if err := n.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// running returns the parts of a node that is started and not stopped.
func (n *Node) running(op string) (*parts, *Error) {
	p := n.parts.Load()
	select {
	case <-n.done:
		return nil, n.stoppedError(op)
	default:
	}
	if p == nil {
		return nil, &Error{Op: op, Kind: ErrNotReady, Detail: "the node has not been started"}
	}
	return p, nil
}

// stoppedError returns the error of a call of a node that has stopped, which says
// why if it did so by itself.
func (n *Node) stoppedError(op string) *Error {
	e := &Error{Op: op, Kind: ErrStopped, Cause: n.Err()}
	if e.Cause != nil {
		e.Detail = e.Cause.Error()
	}
	return e
}

// limits returns what the node accepts.
func (n *Node) limits() server.Limits {
	return server.Limits{Replicas: n.cfg.N, MaxValueBytes: n.cfg.MaxValueBytes, Timeout: n.cfg.RequestTimeout}
}
