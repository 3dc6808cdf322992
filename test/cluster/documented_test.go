package cluster

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// contexts are the tokens in what a request prints, and in what it sends.
func contexts() *regexp.Regexp { return regexp.MustCompile(`(Dynamo-Context: |"context":")([^"'\s]+)`) }

// withoutChance leaves of an answer what is so each time, and the headers that the
// documents have.
func withoutChance(out string) string {
	out = strings.ReplaceAll(out, "\r\n", "\n")
	for _, volatile := range []struct{ is, becomes string }{
		{`(Date|Dynamo-Request-Id): .*\n`, ``},
		{`(Dynamo-Timestamp|Content-Length): .*`, `$1: …`},
		{`"request_id":"[0-9a-f]{16}"`, `"request_id":"…"`},
		{contexts().String(), `$1…`},
	} {
		out = regexp.MustCompile(volatile.is).ReplaceAllString(out, volatile.becomes)
	}
	return strings.TrimSpace(always(out))
}

// The examples of the API for clients are run as they stand, in their order,
// against a live cluster, and print what the documents say. A context in a command
// is the one that was printed where the document has it printed.
func TestDocumentedHTTP(t *testing.T) {
	nodes := embedded(t, 3, nil)
	for _, doc := range []string{"README.md", "docs/http-api.md"} {
		t.Run(doc, func(t *testing.T) {
			all := examples(t, filepath.Join("..", "..", filepath.FromSlash(doc)))
			if len(all) < 4 {
				t.Fatalf("%d examples", len(all))
			}
			here := []string{"127.0.0.1:7171", nodes[0].Addr(), "127.0.0.1:7172", nodes[1].Addr(), "127.0.0.1:7173", nodes[2].Addr()}
			for _, e := range all {
				command := strings.NewReplacer(here...).Replace(e.command)
				out, err := shell(t, command).Output()
				if err != nil {
					t.Fatalf("%s:%d: %s: %v", doc, e.line, command, err)
				}
				if diff := cmp.Diff(withoutChance(e.out), withoutChance(string(out))); diff != "" {
					t.Fatalf("%s:%d: %s prints (-documented +now)\n%s\n%s", doc, e.line, command, diff, out)
				}
				now := contexts().FindAllStringSubmatch(string(out), -1)
				for i, there := range contexts().FindAllStringSubmatch(e.out, -1) {
					here = append(here, there[2], now[i][2])
				}
			}
		})
	}
}
