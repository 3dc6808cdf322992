package dynamo

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/transport/tlstest"
)

// httpsClient returns a client with that configuration that keeps no
// connections.
func httpsClient(c *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: c, DisableKeepAlives: true, ForceAttemptHTTP2: true}}
}

func fetch(t *testing.T, c *http.Client, url string) (string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// A cluster over TLS: the nodes reach each other, clients with a certificate
// reach them, and nobody else does.
func TestClusterOverTLS(t *testing.T) {
	cfg := memoryConfig(3)
	cfg.W = 3
	cfg.TLS = tlstest.Config(t)
	nodes := startCluster(t, 3, cfg)
	put(t, nodes[0], "k", "v", nil, Strict())
	wantValues(t, get(t, nodes[2], "k"), "v")

	// A client that offers HTTP/2 as well is served HTTP/1.1.
	client := httpsClient(cfg.TLS.Clone())
	if got, err := fetch(t, client, "https://"+nodes[1].Addr()+"/v1/kv/k"); err != nil || got != "v" {
		t.Errorf("a client with a certificate got %q, %v", got, err)
	}
	// What the node that is asked asks the others goes over TLS, too.
	body, err := fetch(t, client, "https://"+nodes[1].Addr()+"/v1/explain/k")
	if err != nil {
		t.Fatal(err)
	}
	var explained struct {
		Equal bool
		Nodes []struct{ ID, Error string }
	}
	if err := json.Unmarshal([]byte(body), &explained); err != nil || !explained.Equal || len(explained.Nodes) != 3 {
		t.Errorf("the key is explained as %s, %v", body, err)
	}

	if got, err := fetch(t, httpsClient(&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: cfg.TLS.RootCAs}), "https://"+nodes[1].Addr()+"/health"); err == nil {
		t.Errorf("a client without a certificate got %q", got)
	}
	if got, err := fetch(t, httpsClient(tlstest.Config(t)), "https://"+nodes[1].Addr()+"/health"); err == nil {
		t.Errorf("a client that trusts somebody else got %q", got)
	}
	if got, err := fetch(t, httpsClient(nil), "http://"+nodes[1].Addr()+"/health"); err == nil && strings.Contains(got, "serving") {
		t.Errorf("a client without TLS got %q", got)
	}
}

// A node that speaks another language, or trusts others, does not get in.
func TestStrangersDoNotJoinOverTLS(t *testing.T) {
	cfg := memoryConfig(1)
	cfg.TLS = tlstest.Config(t)
	inside := startNode(t, "n1", cfg)
	for name, c := range map[string]*tls.Config{"plain": nil, "another-ca": tlstest.Config(t)} {
		outside := memoryConfig(1)
		outside.TLS = c
		n := startNode(t, name, outside)
		p, failed := n.running("join")
		if failed != nil {
			t.Fatal(failed)
		}
		if reply := p.runtime.Join(t.Context(), []string{inside.Addr()}, 300*time.Millisecond); reply.Result.Code != core.CodeTimeout {
			t.Errorf("%s: the join ended with %v: %s", name, reply.Result.Code, reply.Detail)
		}
		if len(n.Status().Members) > 1 || len(inside.Status().Members) > 1 {
			t.Errorf("%s has got in: %+v, %+v", name, n.Status().Members, inside.Status().Members)
		}
	}
}

// BenchmarkTLS: puts and gets of 100 bytes by 64 callers, N=3, R=W=2, in memory,
// three nodes of this process over loopback, with TLS and without.
func BenchmarkTLS(b *testing.B) {
	value := make([]byte, 100)
	for _, c := range []struct {
		name string
		tls  *tls.Config
	}{{"plain", nil}, {"tls", tlstest.Config(b)}} {
		var nodes []*Node
		for i := range 3 {
			cfg := memoryConfig(3)
			cfg.Partitions, cfg.GossipInterval, cfg.TLS = 1024, time.Second, c.tls
			n, err := NewNode(fmt.Sprintf("n%d", i+1), "127.0.0.1:0", inDirectory(b, cfg))
			if err != nil {
				b.Fatal(err)
			}
			if err := n.Start(); err != nil {
				b.Fatal(err)
			}
			if i > 0 {
				if err := n.Join([]string{nodes[0].Addr()}); err != nil {
					b.Fatal(err)
				}
			}
			nodes = append(nodes, n)
		}
		for _, n := range nodes {
			if err := n.Ready(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		key := func(i int64) string { return fmt.Sprint("key-", i%10_000) }
		b.Run("put/"+c.name, func(b *testing.B) {
			benchmarkOps(b, nodes, 64, func(n *Node, i int64) error {
				_, err := n.Put(b.Context(), key(i), value, nil, Overwrite())
				return err
			})
		})
		b.Run("get/"+c.name, func(b *testing.B) {
			benchmarkOps(b, nodes, 64, func(n *Node, i int64) error {
				_, err := n.Get(b.Context(), key(i))
				if errors.Is(err, ErrKeyNotFound) {
					return nil
				}
				return err
			})
		})
		for _, n := range nodes {
			if err := n.Stop(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
