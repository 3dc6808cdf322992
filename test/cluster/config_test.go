package cluster

import (
	"cmp"
	"os"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo"
)

// What requests have, and what a node has to answer another, where a test is not
// about time: the machine may stand still for a while. And patience bounds every
// wait for what must happen, far above what any takes.
const (
	patientRequest = time.Minute
	patientPeer    = 2 * time.Second
	patience       = 5 * time.Minute
)

// config is the default configuration with the transport and the engine that
// the environment names, as it does for processes: all tests here hold for each.
// Where it names no engine there is nothing on the disk.
func config() *dynamo.Config {
	cfg := dynamo.DefaultConfig()
	cfg.RequestTimeout, cfg.PeerTimeout = patientRequest, patientPeer
	cfg.StorageEngine = cmp.Or(os.Getenv("DYNAMO_ENGINE"), "memory")
	if transport := os.Getenv("DYNAMO_TRANSPORT"); transport != "" {
		cfg.Transport = transport
	}
	return cfg
}

// durableEngine is for nodes that must find their data again: pebble, where
// the environment names no engine that keeps it.
func durableEngine() string {
	if engine := os.Getenv("DYNAMO_ENGINE"); engine != "" && engine != "memory" {
		return engine
	}
	return "pebble"
}

// durable has cfg keep its data in a directory, from one start to the next.
func durable(cfg *dynamo.Config, dir string) {
	cfg.StorageEngine, cfg.StoragePath = durableEngine(), dir
}

// newNode is dynamo.NewNode with a data directory that nobody else has, if
// the engine needs one and cfg does not name it.
func newNode(tb testing.TB, id, addr string, cfg *dynamo.Config) *dynamo.Node {
	tb.Helper()
	if cfg.StorageEngine != "memory" && cfg.StoragePath == "" {
		cfg.StoragePath = tb.TempDir()
	}
	n, err := dynamo.NewNode(id, addr, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}
