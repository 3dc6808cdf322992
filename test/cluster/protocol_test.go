package cluster

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dynamo-kv/dynamo"
)

// example is a command of a document, and what it prints.
type example struct {
	line         int
	command, out string
}

// examples returns the commands of the document's console blocks.
func examples(t *testing.T, path string) (all []example) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for i, line := range strings.Split(string(content), "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case !inside:
		case strings.HasPrefix(line, "$ "):
			all = append(all, example{line: i + 1, command: line[2:]})
		case len(all) == 0:
			t.Fatalf("%s:%d: an answer without a command", path, i+1)
		default:
			all[len(all)-1].out += line + "\n"
		}
	}
	return all
}

// shell returns a command of a document. curl would ask a proxy of the environment
// for this machine too.
func shell(t *testing.T, command string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
	cmd.Env = append(append(os.Environ(), "no_proxy=*", "NO_PROXY=*"), env...)
	return cmd
}

// always leaves of an answer what is so each time.
func always(out string) string {
	for _, volatile := range []struct{ is, becomes string }{
		{`"(start|instance|digest|cluster)":"[0-9a-f]{16}"`, `"$1":"…"`},
		{`cluster \\"[0-9a-f]{16}\\"`, `cluster …`},
		{`"tree_root":"[0-9a-f]{32}"`, `"tree_root":"…"`},
		{`(n[0-9])~[0-9a-f]{16}\.[0-9]+`, `$1~…`},
		{`"timestamp":"[^"]*[1-9][^"]*\.[0-9]+Z"`, `"timestamp":"…"`},
		{`"write_id":"[0-9a-f]{32}"`, `"write_id":"…"`},
		{`"(heartbeat|changed|incarnation|number)":[0-9]+`, `"$1":0`},
		{`"tokens":\[[0-9,]*\]`, `"tokens":[…]`},
		{`127\.0\.0\.1:[0-9]+`, `127.0.0.1:…`},
	} {
		out = regexp.MustCompile(volatile.is).ReplaceAllString(out, volatile.becomes)
	}
	return out
}

// The examples of the peer protocol's documentation are run as they stand, in
// their order, against a live cluster, and print what it says.
func TestDocumentedProtocol(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "protocol.md")
	nodes := embedded(t, 3, func(cfg *dynamo.Config) { cfg.AntiEntropyInterval = 0 })
	for _, n := range nodes {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := n.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
	await(t, "all members to be known as they will stay", func() bool {
		out, err := shell(t, `curl -s -d '{"from_node":"me"}' $NODE/rpc/gossip`, "NODE=http://"+nodes[0].Addr()).Output()
		return err == nil && strings.Count(string(out), `"state":"active"`) == 3 && strings.Count(string(out), `"phase":"stable"`) == 3
	})
	all := examples(t, path)
	if len(all) < 20 {
		t.Fatalf("%s has %d examples", path, len(all))
	}
	for _, e := range all {
		if strings.HasPrefix(e.command, "NODE=") {
			continue // where a reader's nodes are; ours are elsewhere
		}
		out, err := shell(t, e.command, "NODE=http://"+nodes[0].Addr(), "OTHER=http://"+nodes[1].Addr()).CombinedOutput()
		if err != nil {
			t.Fatalf("%s:%d: %s: %v\n%s", path, e.line, e.command, err, out)
		}
		if diff := cmp.Diff(always(e.out), always(string(out))); diff != "" {
			t.Errorf("%s:%d: %s prints (-documented +now)\n%s\n%s", path, e.line, e.command, diff, out)
		}
	}
}
