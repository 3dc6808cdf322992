package cluster

import (
	"os"

	"github.com/dynamo-kv/dynamo"
)

// config is the default configuration with the transport that the environment
// names, as it does for processes: all tests here hold for each.
func config() *dynamo.Config {
	cfg := dynamo.DefaultConfig()
	if transport := os.Getenv("DYNAMO_TRANSPORT"); transport != "" {
		cfg.Transport = transport
	}
	return cfg
}
