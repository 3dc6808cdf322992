package dynamo

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	goruntime "runtime"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/metrics"
	"github.com/dynamo-kv/dynamo/internal/runtime"
	"github.com/dynamo-kv/dynamo/internal/server"
	"github.com/dynamo-kv/dynamo/internal/server/grpckv"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/engines"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
	"github.com/dynamo-kv/dynamo/internal/tracing"
	"github.com/dynamo-kv/dynamo/internal/transport/httpjson"
	"github.com/dynamo-kv/dynamo/internal/transport/mux"
)

const (
	// syncEvery is the longest time that a write stays unsynced with Sync
	// "interval".
	syncEvery = time.Second
	// formTimeout bounds how long Start waits until a node serves that needs
	// nobody else for it: some flushes to the disk.
	formTimeout = 5 * time.Second
	// stopGrace is how long requests that are under way may go on after Stop.
	stopGrace = time.Second
	// stopLimit is when connections are cut that are still open after Stop:
	// the runtime has answered all requests long before.
	stopLimit = 3 * time.Second
)

// machine is what a node takes from the machine that it runs on. Tests give it
// a network and a disk in memory, so that whole nodes run in virtual time and
// lose their power; all else of a node is the same there.
type machine struct {
	listen func(addr string) (net.Listener, error)
	dial   func(ctx context.Context, addr string) (net.Conn, error) // nil: TCP
	disk   vfs.FS                                                   // nil: the machine's own file system
}

// parts is what a started node is made of. It is complete when it is made,
// and ends with stop.
type parts struct {
	addr     string        // where the node is reached
	bound    string        // where it listens
	replaced chan struct{} // closed when other parts have taken the place of these
	engine   storage.Engine
	runtime  *runtime.Runtime
	peers    *peers // closed by the runtime
	clients  *server.Server
	split    *mux.Mux
	tracer   *tracing.Tracer // nil: nothing is traced
	asks     *http.Client    // other nodes
	failed   chan error      // what went wrong beside the runtime; the first is kept
	syncing  context.CancelFunc
	routines sync.WaitGroup // the servers' and the syncer
}

// assemble opens and starts everything, listening on addr and with those
// seeds. With an error nothing is left open.
func (n *Node) assemble(addr string, seeds []string) (*parts, error) {
	listener, err := n.machine.listen(addr)
	if err != nil {
		return nil, err
	}
	p := &parts{
		addr: advertised(n.cfg.AdvertiseAddr, n.listen, listener.Addr()), bound: listener.Addr().String(),
		replaced: make(chan struct{}), failed: make(chan error, 1),
	}
	if err := n.open(p, seeds); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	p.asks = n.peersClient()
	p.split = mux.New(n.secured(listener), n.logger)
	p.clients = server.New(server.Options{
		Backend: p.runtime, Limits: n.limits(), Logger: n.logger, Peers: p.asks, Tracer: p.edge(),
		Others: n.others(p), ConnContext: p.peers.http.ConnContext,
	})
	kv := grpckv.Options{Backend: p.runtime, Limits: n.limits(), Tracer: p.edge(), Logger: n.logger}
	p.serve("peers", func() error {
		return p.peers.grpc.Serve(p.split.HTTP2(), func(to grpc.ServiceRegistrar) { grpckv.Register(to, kv) })
	})
	p.serve("clients", func() error { return p.clients.Serve(p.split.HTTP1()) })
	if n.cfg.Sync == SyncInterval {
		ctx, cancel := context.WithCancel(context.Background())
		p.syncing = cancel
		p.routines.Go(func() { p.sync(ctx) })
	}
	return p, nil
}

// others returns what the node answers by HTTP beside its clients' requests.
func (n *Node) others(p *parts) map[string]http.Handler {
	out := make(map[string]http.Handler)
	if n.cfg.Metrics.Enabled {
		out["/metrics"] = metrics.Handler(n.shown, n.logger)
	}
	maps.Copy(out, httpjson.NewHandler(p.runtime, n.logger).Routes())
	maps.Copy(out, p.peers.http.Routes())
	return out
}

// listen listens on addr, and says clearly when that is in use.
func listen(addr string) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(context.Background(), "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use: stop what listens there, or choose another port; 0 takes a free one: %w", addr, err)
	}
	return l, err
}

// advertised returns the address at which a node is reached: the one that is
// configured, else the host that it was told to listen on, with the port that
// it listens on where none was chosen.
func advertised(configured, listen string, got net.Addr) string {
	if configured == "" {
		configured = listen
	}
	host, port, err := net.SplitHostPort(configured)
	if err != nil {
		return got.String() // checkNode has found every such address
	}
	if tcp, ok := got.(*net.TCPAddr); ok && port == "0" {
		port = fmt.Sprint(tcp.Port)
	}
	return net.JoinHostPort(host, port)
}

// storage returns which storage is the node's.
func (n *Node) storage() storage.Options {
	path := n.cfg.StoragePath
	if path == "" {
		path = filepath.Join("dynamo-data", string(n.id))
	}
	return storage.Options{
		Engine: n.cfg.StorageEngine, Dir: path, Node: n.id, CacheBytes: n.cfg.CacheBytes, Logger: n.logger,
		Buckets: n.cfg.buckets(), FS: n.machine.disk, MemoryBytes: n.cfg.MaxMemoryBytes,
		ScrubInterval: n.cfg.ScrubInterval,
	}
}

// opened returns how the storage is opened for p: what goes on behind its commits
// is slowed down by requests that are slow, and what it finds lost is told.
func (n *Node) opened(p *parts, work *runtime.EngineWork, damage *runtime.Damage) storage.Options {
	o := n.storage()
	o.OnFailure, o.OnDamage, o.Background, o.Throttled = p.fail, damage.Found, work, n.throttled
	return o
}

// throttled says whether requests are too slow for all the background work that
// there might be. A node whose parts are not complete has no requests.
func (n *Node) throttled() bool {
	p := n.parts.Load()
	if p == nil {
		return false
	}
	status := p.runtime.Status()
	return status.Background.Throttled()
}

// open opens the storage and starts the runtime on it.
func (n *Node) open(p *parts, seeds []string) error {
	if err := n.openTracer(p); err != nil {
		return err
	}
	work, damage := runtime.NewEngineWork(n.cfg.Admission.MaxSlots), runtime.NewDamage(shards(n.cfg.Shards))
	engine, identity, err := engines.Open(n.opened(p, work, damage))
	if err != nil {
		p.closeTracer()
		return err
	}
	p.engine = engine
	o := n.runtimeOptions(p, identity, work)
	o.Node.Seeds, o.Damage = seeds, damage
	if p.runtime, err = runtime.New(o); err != nil {
		p.closeTracer()
		return errors.Join(err, engine.Close())
	}
	return nil
}

func (n *Node) runtimeOptions(p *parts, identity storage.Identity, work *runtime.EngineWork) runtime.Options {
	c := n.cfg
	o := runtime.Options{Engine: p.engine, EngineWork: work, Logger: n.logger}
	if p.tracer != nil {
		o.Tracer = p.tracer
	}
	if c.Sync == SyncInterval {
		o.Durability = core.NoSync
	}
	o.Room, o.Node.Room = n.meter(p.engine), c.Room.marks()
	o.Connect = func(h runtime.Handler, mono func() time.Duration) (runtime.Transport, error) {
		t, err := n.newPeers(h, mono)
		p.peers = t
		return t, err
	}
	o.Node.Self, o.Node.Instance, o.Node.Addr = n.id, identity.Instance, p.addr
	o.Node.Start, o.Node.Seed = random(), random()
	o.Node.Zone, o.Node.Datacentre, o.Node.Weight = c.Zone, c.Datacentre, c.Weight
	o.Node.Shards = shards(c.Shards)
	o.Node.Partitions, o.Node.N, o.Node.R, o.Node.W = c.Partitions, c.N, c.R, c.W
	o.Node.Strict, o.Node.MaxHintBytes = c.Quorum == QuorumStrict, uint64(c.MaxHintBytes)
	o.Node.RecordCacheBytes = int(c.RecordCacheBytes)
	o.Node.RepairBytes = core.DefaultRepairBytes
	o.Node.PeerTimeout, o.Node.GossipInterval = c.PeerTimeout, c.GossipInterval
	o.Node.SuspectPhi, o.Node.DeadPhi = c.SuspectPhi, c.DeadPhi
	o.Node.AntiEntropyInterval = c.AntiEntropyInterval
	c.calling(&o)
	o.Node.LayoutAuto, o.Node.LayoutDelay = c.LayoutAuto, c.LayoutDelay
	o.Node.ForceServe = c.ForceServe
	o.Node.Admit, o.Node.Admission = c.Admission.Enabled, c.Admission.limits()
	o.Node.Buckets = c.buckets()
	o.Node.TombstoneTTL, o.Node.TombstoneInterval = c.TombstoneTTL, c.TombstoneInterval
	return o
}

// meter returns what measures the room of the storage, nil where nothing can or
// is to.
func (n *Node) meter(engine storage.Engine) runtime.Meter {
	stored := n.storage()
	if !n.cfg.Room.Enabled {
		return nil
	}
	if _, err := engines.Room(stored, engine); errors.Is(err, storage.ErrRoomUnknown) {
		return nil
	}
	return func() (core.RoomReport, error) { return engines.Room(stored, engine) }
}

// shards returns the number of shards: as configured, or one for each core (ADR
// 40), at least 2.
func shards(configured int) int {
	if configured > 0 {
		return configured
	}
	return min(max(2, goruntime.GOMAXPROCS(0)), core.MaxShards-1)
}

// random returns 64 random bits that are not all zero, which stands for none.
func random() uint64 {
	var b [8]byte
	for {
		_, _ = rand.Read(b[:]) // it never fails: the process ends where there is no randomness
		if v := binary.LittleEndian.Uint64(b[:]); v != 0 {
			return v
		}
	}
}

// awaitServing waits until the node serves, but not for long.
func (p *parts) awaitServing() {
	limit := time.NewTimer(formTimeout)
	defer limit.Stop()
	for {
		changed := p.runtime.Changed()
		if p.runtime.Status().Serving {
			return
		}
		select {
		case <-changed:
		case <-p.runtime.Done():
			return
		case <-limit.C:
			return
		}
	}
}

// serve runs one of the node's servers. That it ends before stop is a failure
// of the node.
func (p *parts) serve(whom string, serve func() error) {
	p.routines.Go(func() {
		if err := serve(); err != nil {
			p.fail(fmt.Errorf("serving %s: %w", whom, err))
		}
	})
}

// fail makes an error known to the node, which then stops. It never waits.
func (p *parts) fail(err error) {
	select {
	case p.failed <- err:
	default:
	}
}

// sync makes the engine's data safe now and then, until ctx ends. A failure
// comes through the engine's OnFailure.
func (p *parts) sync(ctx context.Context) {
	ticker := time.NewTicker(syncEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			p.engine.Commit(nil, core.Sync, func(error) {})
		case <-ctx.Done():
			return
		}
	}
}

// stop ends everything: first the requests of clients, for which the runtime
// must run, then the runtime with its connections to peers, then the engine.
func (p *parts) stop() error {
	clients := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
		defer cancel()
		clients <- p.clients.Stop(ctx)
	}()
	var clientsErr error
	stopped := false
	grace, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	select {
	case clientsErr = <-clients:
		stopped = true
	case <-grace.Done():
	}
	p.runtime.Drain(grace)  // of what does not come over HTTP
	err := p.runtime.Stop() // which answers whoever still waits
	if !stopped {
		clientsErr = <-clients
	}
	if errors.Is(clientsErr, context.DeadlineExceeded) {
		clientsErr = nil // connections were cut, which is what the limit is for
	}
	if p.syncing != nil {
		p.syncing()
	}
	err = errors.Join(err, clientsErr, p.split.Close())
	p.routines.Wait()
	p.asks.CloseIdleConnections()
	p.closeTracer()
	return errors.Join(err, p.engine.Close())
}
