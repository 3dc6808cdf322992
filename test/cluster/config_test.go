package cluster

import (
	"cmp"
	"os"
	"testing"

	"github.com/dynamo-kv/dynamo"
)

// config is the default configuration with the transport and the engine that
// the environment names, as it does for processes: all tests here hold for each.
// Where it names no engine there is nothing on the disk.
func config() *dynamo.Config {
	cfg := dynamo.DefaultConfig()
	cfg.StorageEngine = cmp.Or(os.Getenv("DYNAMO_ENGINE"), "memory")
	if transport := os.Getenv("DYNAMO_TRANSPORT"); transport != "" {
		cfg.Transport = transport
	}
	return cfg
}

// durable has cfg keep its data in a directory, from one start to the next: by
// pebble, where the environment names no engine that does so.
func durable(cfg *dynamo.Config, dir string) {
	cfg.StoragePath = dir
	if cfg.StorageEngine == "memory" {
		cfg.StorageEngine = "pebble"
	}
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
