package dynamo

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/histogram"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/membership"
	"github.com/dynamo-kv/dynamo/internal/metrics"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/server"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/engines"
)

// Config says how a node behaves. Begin with [DefaultConfig] and change what
// you need: a zero field means zero and not the default. The same values of
// N, R, W and Partitions belong on every node of a cluster. Where they differ,
// the cluster goes by the N and Partitions of the node that formed it, and each
// request by the R and W of the node that coordinates it.
type Config struct {
	// N is how many nodes hold each key: 1 to 16, fixed when a cluster is
	// formed. A cluster with fewer nodes holds each key on all of them and says
	// that it is under-replicated.
	N int
	// R is how many replicas must answer a read, 1 to N. R+W > N makes a
	// strict read see every write that ended before it began.
	R int
	// W is how many replicas must have stored a write before it is
	// acknowledged, 1 to N.
	W int
	// Quorum says who counts toward R and W: "sloppy" lets other nodes stand in
	// for owners of a key that cannot be reached, and bring them what they
	// missed as soon as they return, so that writes go on while any W nodes
	// can be reached; "strict" counts owners only. A request may say otherwise.
	Quorum string
	// MaxHintBytes is what this node keeps at most for other nodes that cannot
	// be reached, in bytes; at least 1 MiB. Past it other nodes are asked.
	MaxHintBytes int64
	// Partitions is into how many slices the keys are divided among the
	// nodes: a power of two up to 65536. It is fixed when a cluster is formed;
	// some 30 a node let it grow evenly.
	Partitions int

	// StorageEngine is the engine that keeps the data: "pebble", "lss", "bolt",
	// "badger", or "memory", which forgets everything when the node stops.
	StorageEngine string
	// StoragePath is this node's data directory. Empty means dynamo-data/ID
	// in the working directory. The memory engine does not use it.
	StoragePath string
	// CacheBytes is the size of the engine's cache of blocks, in bytes: 1 MiB to
	// 1 TiB. Only pebble and badger have such a cache, and pebble has what
	// it gathers in memory before it writes a table in it as well.
	CacheBytes int64
	// RecordCacheBytes is what the records of keys in use may take of the node's
	// memory, in bytes, with any engine: such a key is neither read from the
	// engine nor decoded again. 1 MiB to 1 TiB, or 0, which is off. A record of
	// 1 KiB takes 1.7.
	RecordCacheBytes int64
	// MaxMemoryBytes is what the memory engine may take for what it holds, in
	// bytes, with some 72 for each key: 0, which is no limit, or at least 1 MiB.
	// Other engines do not use it. Near it the node is full: see Room.
	MaxMemoryBytes int64
	// ScrubInterval is the time in which this node reads all that is stored on its
	// disk and checks it, so that what the disk has changed is found, and brought
	// back from the other owners, before anybody reads it: 1 min to 365 days, or 0,
	// which is off. It is background work as Admission has it. Only the engine lss
	// does so.
	ScrubInterval time.Duration
	// Sync is when a node counts a write as stored: "always" when it is safe
	// on its disk; "interval" at once, and it is safe within a second: faster,
	// and a write is lost when the W nodes that acknowledged it all crash
	// within that second.
	Sync string

	// RequestTimeout is the time that a request has unless it says otherwise:
	// 1 ms to 60 s.
	RequestTimeout time.Duration
	// PeerTimeout is the time that a peer has to answer before the next one
	// is asked: 1 ms to RequestTimeout.
	PeerTimeout time.Duration
	// MaxValueBytes is the size up to which values are accepted, in bytes: up
	// to 16 MiB.
	MaxValueBytes int
	// Shards is how many event loops share the partitions: 0 is one for each
	// processor core, at least 2.
	Shards int

	// Transport is how this node sends to other nodes: "grpc", one stream to
	// each of them, or "http", batches of JSON for whoever wants to read along,
	// at several times the cost. Every node understands both, so that the nodes
	// of a cluster may differ.
	Transport string
	// Seeds are addresses of nodes of the cluster that a new node joins when
	// it starts. A node without seeds forms a cluster of its own.
	Seeds []string
	// AdvertiseAddr is the host:port at which other nodes reach this one. It
	// is needed where the node listens on all interfaces; empty means the
	// address on which it listens. Port 0 stands for the listening port.
	AdvertiseAddr string
	// Zone names what fails as one, a rack or a room: up to 64 bytes. The
	// replicas of a key are in distinct zones where there are enough.
	Zone string
	// Datacentre names where the node stands: up to 64 bytes. The other members
	// hear of it and status shows it; nothing is decided by it yet.
	Datacentre string
	// Weight is this node's share of the keys relative to the others': at
	// least 1.
	Weight uint32
	// GossipInterval is the pause between two exchanges of news about the
	// cluster: 10 ms to 60 s.
	GossipInterval time.Duration
	// SuspectPhi and DeadPhi are how surprising a node's silence must be for
	// another one to suspect that it is dead, and to hold it for dead: minus the
	// logarithm, to the base of ten, of the probability that a node that lives
	// is silent for so long. Above 0, up to 100, and DeadPhi is the greater one.
	// Lower values notice failures sooner, and see some where there are none.
	SuspectPhi float64
	DeadPhi    float64
	// AntiEntropyInterval is how long two owners of a partition go without
	// comparing what they hold, at most, while both are alive: 10 ms to 24 h. 0
	// lets this node compare with nobody by itself; it answers others all the
	// same, so that only a cluster in which all nodes have 0 does without.
	AntiEntropyInterval time.Duration
	// LayoutAuto gives partitions to new nodes without a command.
	LayoutAuto bool
	// LayoutDelay is how long the members must have been the same before
	// partitions are moved, up to an hour: nodes that start together are then
	// taken in together.
	LayoutDelay time.Duration

	// ForceServe serves a data directory that was last in use more than five
	// minutes ago without asking the other members whether it is an old copy.
	// Without it such a node waits until half of them have spoken, and sets its
	// data aside if one of them knows a newer state of it. For once: where the
	// others are lost.
	ForceServe bool
	// TombstoneTTL is how long every node must have agreed on what a delete has
	// left of a key before they forget it: at least 7 minutes, up to a year. It
	// begins anew when any node is restarted or joins, so choose one that is
	// shorter than the time between restarts.
	TombstoneTTL time.Duration
	// TombstoneInterval is the pause between two looks for deleted keys that
	// may be forgotten: 1 s to 24 h.
	TombstoneInterval time.Duration

	// Admission slows background work down while requests are slow.
	Admission AdmissionConfig
	// Room is when the node stops taking what needs room on its disk.
	Room RoomConfig
	// CircuitBreaker is when a node that does not answer is not called any more.
	CircuitBreaker CircuitBreakerConfig
	// Retry is how calls to other nodes are repeated.
	Retry RetryConfig
	// CoordinatorSelection is which owner of a key is asked first.
	CoordinatorSelection CoordinatorSelectionConfig
	// Read is how many owners a read asks.
	Read ReadConfig

	// Metrics is what the node shows to whoever watches it: see Node.Metrics.
	Metrics MetricsConfig
	// Tracing exports the course of requests to an OpenTelemetry collector.
	Tracing TracingConfig
	// TLS has every connection encrypted, of clients and between nodes: it has
	// the node's certificate, and whom it trusts as a server and as a client of
	// other nodes, whose certificates must be for the hosts of their addresses.
	// nil: none is. It is not copied, and must not be changed any more.
	TLS *tls.Config

	// Logger gets what the node has to say; nil drops it.
	Logger *slog.Logger
}

// MetricsConfig says what a node shows to whoever watches it.
type MetricsConfig struct {
	// Enabled has the node answer at /metrics and measure how long things take;
	// without it, Node.Metrics has nothing to show.
	Enabled bool
	// Buckets are the upper bounds of the classic buckets of every histogram of
	// durations: 1 to 64, ascending, above 0 and up to an hour. Each is a series
	// of its own. Native histograms, which a scraper may ask for, do not go by
	// them.
	Buckets []time.Duration
}

// TracingConfig says which requests are traced, and where to.
type TracingConfig struct {
	// Endpoint is the URL of a collector that takes OTLP over gRPC, such as
	// http://127.0.0.1:4317; https is for TLS. Empty: nothing is traced, which
	// costs nothing.
	Endpoint string
	// SampleRatio is the share of the requests that are traced where nobody else
	// has decided: 0 to 1. A request with a traceparent, or below a span of the
	// embedding program, goes by that.
	SampleRatio float64
}

// The values of Config.Sync.
const (
	SyncAlways   = "always"
	SyncInterval = "interval"
)

// The values of Config.Quorum.
const (
	QuorumSloppy = "sloppy"
	QuorumStrict = "strict"
)

// The values of Config.Transport.
const (
	TransportGRPC = "grpc"
	TransportHTTP = "http"
)

// The bounds of a Config that have no better home.
const (
	minCacheBytes     = 1 << 20 // an engine needs a few blocks to work with
	maxCacheBytes     = 1 << 40 // more than machines have
	minMemoryBytes    = 1 << 20 // a few values of the default size
	minHintBytes      = 1 << 20 // one value of the default size for each of few shards
	minGossipInterval = 10 * time.Millisecond
	maxGossipInterval = time.Minute
	maxLayoutDelay    = time.Hour
	minAntiEntropy    = 10 * time.Millisecond
	maxAntiEntropy    = 24 * time.Hour
	minScrub          = time.Minute // a store of a few segments
	maxScrub          = 365 * 24 * time.Hour
	maxTombstoneTTL   = 365 * 24 * time.Hour
	minTombstoneEach  = time.Second
	maxTombstoneEach  = 24 * time.Hour
	maxSeeds          = 256 // a person lists them
	maxHostBytes      = 253 // of a DNS name
	maxWeight         = 1 << 16
	maxBucket         = time.Hour // no request and no exchange lasts as long
)

// DefaultConfig returns the configuration to begin with. It is valid as it
// is, and the caller's to change.
func DefaultConfig() *Config {
	c := &Config{
		N:                   3,
		R:                   2,
		W:                   2,
		Partitions:          1024,
		StorageEngine:       "pebble",
		CacheBytes:          storage.DefaultCacheBytes,
		RecordCacheBytes:    32 << 20,
		ScrubInterval:       7 * 24 * time.Hour,
		Sync:                SyncAlways,
		RequestTimeout:      2 * time.Second,
		PeerTimeout:         300 * time.Millisecond,
		MaxValueBytes:       id.DefaultMaxValueBytes,
		Transport:           TransportGRPC,
		Weight:              1,
		GossipInterval:      time.Second,
		SuspectPhi:          membership.DefaultSuspectPhi,
		DeadPhi:             membership.DefaultDeadPhi,
		LayoutAuto:          true,
		LayoutDelay:         time.Second,
		AntiEntropyInterval: time.Minute,
		Quorum:              QuorumSloppy,
		MaxHintBytes:        1 << 30,
		TombstoneTTL:        7 * 24 * time.Hour,
		TombstoneInterval:   time.Hour,
		Admission:           defaultAdmission(),
		Room:                defaultRoom(),
		Metrics:             MetricsConfig{Enabled: true, Buckets: metrics.DefaultBuckets()},
		Tracing:             TracingConfig{SampleRatio: 0.01},
	}
	defaultCalling(c)
	return c
}

// clone returns a copy that shares nothing with c but the logger.
func (c *Config) clone() *Config {
	out := *c
	out.Seeds = slices.Clone(c.Seeds)
	out.Metrics.Buckets = slices.Clone(c.Metrics.Buckets)
	return &out
}

// Validate returns nil, or an error that wraps ErrInvalidConfig and names
// every fault of c with the value, what is allowed, and what to do.
func (c *Config) Validate() error {
	if c == nil {
		return invalidConfig([]error{errors.New("the Config is nil; begin with DefaultConfig")})
	}
	var f faults
	c.checkReplication(&f)
	c.checkStorage(&f)
	c.checkRequests(&f)
	c.checkCluster(&f)
	c.Admission.check(&f)
	c.Room.check(&f)
	c.checkCalling(&f)
	c.checkMetrics(&f)
	c.checkObservation(&f)
	return invalidConfig(f)
}

// invalidConfig wraps faults, of which there may be none.
func invalidConfig(faults []error) error {
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalidConfig, errors.Join(faults...))
}

// faults collects what is wrong.
type faults []error

// check adds a fault unless ok holds.
func (f *faults) check(ok bool, format string, args ...any) {
	if !ok {
		*f = append(*f, fmt.Errorf(format, args...))
	}
}

func (c *Config) checkReplication(f *faults) {
	f.check(c.N >= 1 && c.N <= ring.MaxReplicas,
		"N is %d; 1 to %d are allowed: set it to the number of copies of each key, 3 for most uses", c.N, ring.MaxReplicas)
	f.check(c.R >= 1 && c.R <= c.N, "R is %d; 1 to N, which is %d, are allowed: a majority of N suits most uses", c.R, c.N)
	f.check(c.W >= 1 && c.W <= c.N, "W is %d; 1 to N, which is %d, are allowed: a majority of N suits most uses", c.W, c.N)
	f.check(c.Quorum == QuorumSloppy || c.Quorum == QuorumStrict,
		"Quorum is %q; %s and %s are allowed: %s keeps writes going while owners are away", c.Quorum, QuorumSloppy, QuorumStrict, QuorumSloppy)
	f.check(c.MaxHintBytes >= minHintBytes,
		"MaxHintBytes is %d; at least %d are needed: set it to what may be written while a node is away", c.MaxHintBytes, minHintBytes)
	f.check(c.Partitions >= 1 && c.Partitions <= id.MaxPartitions && bits.OnesCount(uint(c.Partitions)) == 1,
		"Partitions is %d; powers of two up to %d are allowed: 1024 suits up to some 30 nodes", c.Partitions, id.MaxPartitions)
	f.check(c.Shards >= 0 && c.Shards < core.MaxShards,
		"Shards is %d; 0 to %d are allowed: 0 chooses by the processor's cores", c.Shards, core.MaxShards-1)
}

func (c *Config) checkStorage(f *faults) {
	names := engineNames()
	f.check(slices.Contains(names, c.StorageEngine),
		"StorageEngine is %q; allowed are %s: %s keeps data on the disk", c.StorageEngine, strings.Join(names, ", "), names[0])
	f.check(!strings.ContainsRune(c.StoragePath, 0),
		"StoragePath is %q; a path has no NUL: set it to a directory", c.StoragePath)
	f.check(c.CacheBytes >= minCacheBytes && c.CacheBytes <= maxCacheBytes,
		"CacheBytes is %d; %d to %d are allowed: %d is the default", c.CacheBytes, minCacheBytes, maxCacheBytes, storage.DefaultCacheBytes)
	f.check(c.RecordCacheBytes == 0 || c.RecordCacheBytes >= minCacheBytes && c.RecordCacheBytes <= maxCacheBytes,
		"RecordCacheBytes is %d; 0, which is off, and %d to %d are allowed: 33554432 holds some twenty thousand records of 1 KiB",
		c.RecordCacheBytes, minCacheBytes, maxCacheBytes)
	f.check(c.MaxMemoryBytes == 0 || c.MaxMemoryBytes >= minMemoryBytes,
		"MaxMemoryBytes is %d; 0, which is no limit, and at least %d are allowed: leave the machine half of its memory", c.MaxMemoryBytes, minMemoryBytes)
	f.check(c.ScrubInterval == 0 || c.ScrubInterval >= minScrub && c.ScrubInterval <= maxScrub,
		"ScrubInterval is %v; 0s, which is off, and %v to %v are allowed: 168h suits most disks", c.ScrubInterval, minScrub, maxScrub)
	f.check(c.Sync == SyncAlways || c.Sync == SyncInterval,
		"Sync is %q; %s and %s are allowed: %s loses nothing that was acknowledged", c.Sync, SyncAlways, SyncInterval, SyncAlways)
}

func engineNames() []string {
	drivers := engines.Drivers()
	names := make([]string, len(drivers))
	for i, d := range drivers {
		names[i] = d.Name
	}
	return names
}

func (c *Config) checkRequests(f *faults) {
	f.check(c.RequestTimeout >= server.MinTimeout && c.RequestTimeout <= server.MaxTimeout,
		"RequestTimeout is %v; %v to %v are allowed: 2s suits most networks", c.RequestTimeout, server.MinTimeout, server.MaxTimeout)
	f.check(c.PeerTimeout >= server.MinTimeout && c.PeerTimeout <= c.RequestTimeout,
		"PeerTimeout is %v; %v to RequestTimeout, which is %v, are allowed: 300ms leaves time to ask another node",
		c.PeerTimeout, server.MinTimeout, c.RequestTimeout)
	f.check(c.MaxValueBytes >= 1 && c.MaxValueBytes <= id.MaxValueBytes,
		"MaxValueBytes is %d; 1 to %d are allowed: store larger things in parts", c.MaxValueBytes, id.MaxValueBytes)
}

func (c *Config) checkCluster(f *faults) {
	f.check(c.Transport == TransportGRPC || c.Transport == TransportHTTP,
		"Transport is %q; %s and %s are allowed: %s is several times faster", c.Transport, TransportGRPC, TransportHTTP, TransportGRPC)
	f.check(len(c.Zone) <= ring.MaxZoneBytes && utf8.ValidString(c.Zone),
		"Zone is %q; UTF-8 of up to %d bytes is allowed: name the rack or room, or leave it empty", c.Zone, ring.MaxZoneBytes)
	f.check(c.Weight >= 1 && c.Weight <= maxWeight,
		"Weight is %d; 1 to %d are allowed: a node of weight 2 gets twice the keys of one of weight 1", c.Weight, maxWeight)
	f.check(c.GossipInterval >= minGossipInterval && c.GossipInterval <= maxGossipInterval,
		"GossipInterval is %v; %v to %v are allowed: 1s suits most clusters", c.GossipInterval, minGossipInterval, maxGossipInterval)
	f.check(c.SuspectPhi > 0 && c.SuspectPhi < c.DeadPhi,
		"SuspectPhi is %v; above 0 and below DeadPhi, which is %v, is allowed: 5 suits most clusters", c.SuspectPhi, c.DeadPhi)
	f.check(c.DeadPhi > 0 && c.DeadPhi <= membership.MaxPhi,
		"DeadPhi is %v; above SuspectPhi and up to %d is allowed: 8 suits most clusters", c.DeadPhi, membership.MaxPhi)
	f.check(c.AntiEntropyInterval == 0 || c.AntiEntropyInterval >= minAntiEntropy && c.AntiEntropyInterval <= maxAntiEntropy,
		"AntiEntropyInterval is %v; 0s, which is off, and %v to %v are allowed: 1m suits most clusters",
		c.AntiEntropyInterval, minAntiEntropy, maxAntiEntropy)
	f.check(c.LayoutDelay >= 0 && c.LayoutDelay <= maxLayoutDelay,
		"LayoutDelay is %v; 0s to %v are allowed: 1s takes nodes in together that start together", c.LayoutDelay, maxLayoutDelay)
	f.check(c.TombstoneTTL >= id.MinTombstoneTTL && c.TombstoneTTL <= maxTombstoneTTL,
		"TombstoneTTL is %v; %v to %v are allowed: 168h suits most clusters", c.TombstoneTTL, id.MinTombstoneTTL, maxTombstoneTTL)
	f.check(c.TombstoneInterval >= minTombstoneEach && c.TombstoneInterval <= maxTombstoneEach,
		"TombstoneInterval is %v; %v to %v are allowed: 1h suits most clusters", c.TombstoneInterval, minTombstoneEach, maxTombstoneEach)
	f.check(len(c.Seeds) <= maxSeeds, "Seeds has %d addresses; at most %d are allowed: two or three are enough", len(c.Seeds), maxSeeds)
	for _, seed := range c.Seeds {
		f.address("Seeds", seed, false)
	}
	if c.AdvertiseAddr != "" {
		f.address("AdvertiseAddr", c.AdvertiseAddr, true)
	}
}

func (c *Config) checkMetrics(f *faults) {
	buckets := c.Metrics.Buckets
	f.check(len(buckets) >= 1 && len(buckets) <= histogram.MaxBounds,
		"Metrics.Buckets has %d bounds; 1 to %d are allowed: some fifteen from 100us to 10s suit most uses", len(buckets), histogram.MaxBounds)
	for i, b := range buckets {
		f.check(b > 0 && b <= maxBucket,
			"Metrics.Buckets has %v; above 0s and up to %v is allowed: choose bounds near the times that you care for", b, maxBucket)
		f.check(i == 0 || b > buckets[i-1],
			"Metrics.Buckets has %v after %v; bounds must ascend: sort them, and name each once", b, buckets[max(0, i-1)])
	}
}

func (c *Config) checkObservation(f *faults) {
	f.check(len(c.Datacentre) <= ring.MaxZoneBytes && utf8.ValidString(c.Datacentre),
		"Datacentre is %q; UTF-8 of up to %d bytes is allowed: name where the node stands, or leave it empty", c.Datacentre, ring.MaxZoneBytes)
	if c.TLS != nil {
		f.check(len(c.TLS.Certificates) > 0 || c.TLS.GetCertificate != nil,
			"TLS has no certificate; a node serves with its own: give it one")
		f.check(c.TLS.ServerName == "",
			"TLS has the ServerName %q; nodes are told apart by the hosts of their addresses: leave it empty", c.TLS.ServerName)
	}
	t := &c.Tracing
	f.check(t.SampleRatio >= 0 && t.SampleRatio <= 1,
		"Tracing.SampleRatio is %v; 0 to 1 are allowed: 0.01 traces one request in a hundred", t.SampleRatio)
	if t.Endpoint != "" {
		u, err := url.Parse(t.Endpoint)
		f.check(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.Port() != "" &&
			t.Endpoint == u.Scheme+"://"+u.Host, // and nothing else, which would not be gone by
			"Tracing.Endpoint is %q; http://host:port and https://host:port are allowed: name a collector that takes OTLP over gRPC, "+
				"or leave it empty", t.Endpoint)
	}
}

// address checks an address at which a node is reached.
func (f *faults) address(field, addr string, anyPort bool) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		f.check(false, "%s has %q; host:port is allowed: write it like 10.0.0.1:7171", field, addr)
		return
	}
	n, err := strconv.ParseUint(port, 10, 16)
	f.check(err == nil && (n > 0 || anyPort), "%s has %q with the port %q; 1 to 65535 are allowed: 7171 is usual", field, addr, port)
	f.check(len(host) <= maxHostBytes, "%s has a host of %d bytes; at most %d are allowed, as names have", field, len(host), maxHostBytes)
	f.check(!unspecified(host), "%s has %q, which names no machine; a host name or an IP address is allowed: "+
		"write the one at which other nodes reach it", field, addr)
}

// unspecified says whether a host stands for all interfaces.
func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}
