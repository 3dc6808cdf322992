package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynamo-kv/dynamo/client"
)

// dialSilent connects to nodes that take what they are sent and say nothing, as a
// process does that is stopped.
func dialSilent(context.Context, string) (net.Conn, error) {
	here, there := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, there) }()
	return here, nil
}

// TestSilentNodes: the error says that nodes which were asked have not answered,
// and not how the client gave them up.
func TestSilentNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cfg := client.DefaultConfig()
		cfg.Dial = dialSilent
		_, err := client.New(ctx, []string{"10.0.0.1:7171"}, cfg)
		if !errors.Is(err, client.ErrTimeout) || !strings.Contains(err.Error(), "10.0.0.1:7171: no topology within 5s") {
			t.Errorf("the error is %v", err)
		}
	})
}
