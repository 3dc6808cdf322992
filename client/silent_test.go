package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
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

// TestSilentNodesAreNotWaitedFor: with several addresses, one that says nothing
// keeps the client no longer from the next than a node has for an answer; when
// all have had that, each gets the time that a far one needs.
func TestSilentNodesAreNotWaitedFor(t *testing.T) {
	addrs := []string{"10.0.0.1:7171", "10.0.0.2:7171", "10.0.0.3:7171", "10.0.0.4:7171"}
	for _, c := range []struct {
		within time.Duration
		says   string
	}{
		{3 * time.Second, "no topology within 500ms"},
		{time.Minute, "no topology within 5s"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			asked := map[string]int{}
			cfg := client.DefaultConfig()
			cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
				mu.Lock()
				asked[addr]++
				mu.Unlock()
				return dialSilent(ctx, addr)
			}
			ctx, cancel := context.WithTimeout(t.Context(), c.within)
			defer cancel()
			_, err := client.New(ctx, addrs, cfg)
			if !errors.Is(err, client.ErrTimeout) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("after %v the error is %v", c.within, err)
			}
			if len(asked) != len(addrs) {
				t.Errorf("in %v these were asked: %v; want all of %v", c.within, asked, addrs)
			}
		})
	}
}
