package archtest

import (
	"slices"
	"strings"
)

// floor is a set of packages that may import those of lower floors only.
type floor struct {
	name string
	// pure: the packages decide and do nothing else, see scan.go.
	pure bool
	// packages are folders from the module's root, "." being the root. One
	// that ends in "/..." is a family: the folder and all below it. Members of
	// a family may import each other; other packages of a floor may not.
	packages []string
}

// floors is the table of all packages, from the bottom up. A package that is
// not in it fails the test.
func floors() []floor {
	return []floor{
		{"0", true, []string{"internal/id", "internal/bug"}},
		{"1", true, []string{
			"internal/version", "internal/ring", "internal/merkle",
			// The calculators.
			"internal/phi", "internal/breaker", "internal/backoff",
			"internal/admission", "internal/latency", "internal/quorum", "internal/histogram", "internal/room",
		}},
		{"1½", true, []string{"internal/core", "internal/kv", "internal/audit"}},
		{"1¾", true, []string{"internal/guard"}}, // a calculator over two others, for all machines
		{"2", true, []string{
			"internal/replica", "internal/coordinator", "internal/handoff",
			"internal/antientropy", "internal/membership", "internal/forget",
		}},
		{"3", true, []string{"internal/node"}},
		{"3½", false, []string{"api/...", "internal/frame"}}, // what is on the wire to clients, and how gRPC carries it
		{"4", false, []string{
			"internal/storage/...", "internal/transport/...", "internal/runtime",
			"internal/server/...", "internal/tracing", "internal/sim/...", "internal/archtest",
			"internal/bench/...", "internal/self",
			"internal/core/coretest", // helps tests of the floors below
		}},
		{"4½", false, []string{
			"internal/metrics",     // reads the figures of the shell's parts
			"internal/enginebench", // measures the engines
			"internal/migrate",     // moves data between engines
			"internal/doctor",      // looks at what machines and engines have stored
		}},
		{"5", false, []string{".", "client"}},
		{"6", false, []string{"cmd/dynamo"}},
		{"7", false, []string{"test/...", "examples/..."}},
	}
}

// imports lists what a package may import of this module, where that is less
// than all floors below it.
func imports() map[string][]string {
	return map[string][]string{
		"internal/core": {"internal/id", "internal/version", "internal/ring", "internal/histogram"},
		// A program that uses the client gets no node and no storage with it.
		"client": {
			"internal/id", "internal/version", "internal/ring", "internal/backoff", "internal/latency",
			"internal/kv", "internal/frame", "api/dynamo/v1",
		},
	}
}

// importers lists the only packages that may import one.
type importers struct {
	// of is the package or family.
	of string
	// by may import it.
	by []string
	// tests: the list binds test files too.
	tests bool
}

func restricted() []importers {
	return []importers{
		// The methods of Shard and Control have two callers, so that what is
		// simulated is what runs.
		{of: "internal/node", by: []string{"internal/runtime", "internal/sim/..."}, tests: true},
		// The wire's types stay at the wire.
		{of: "api/...", by: []string{"internal/transport/...", "internal/server/...", "client", "test/...", "examples/..."}},
		// Only tests.
		{of: "internal/core/coretest"},
		{of: "internal/transport/tlstest"},
		{of: "internal/archtest"},
	}
}

// notPure lists the packages that stand on a pure floor and are excused.
func notPure() []string {
	return []string{
		"internal/bug", // an atomic switch, in builds with the tag simbugs only
	}
}

// libraries lists what pure packages may import from outside the module and
// the standard library.
func libraries() []string {
	return []string{
		"github.com/cespare/xxhash/v2",
		"github.com/tidwall/btree",
		"github.com/zeebo/xxh3",
	}
}

// place is where a package stands.
type place struct {
	index   int // of the floor, from the bottom
	floor   floor
	pattern string // the entry that covers the package
}

// find returns the place of a package, given as its folder.
func find(pkg string) (place, bool) {
	for i, f := range floors() {
		for _, pattern := range f.packages {
			if covers(pattern, pkg) {
				return place{i, f, pattern}, true
			}
		}
	}
	return place{}, false
}

// isPure says whether a package must be pure.
func isPure(pkg string) bool {
	at, ok := find(pkg)
	return ok && at.floor.pure && !slices.Contains(notPure(), pkg)
}

// covers says whether an entry of the table stands for a package.
func covers(pattern, pkg string) bool {
	folder, family := strings.CutSuffix(pattern, "/...")
	return pkg == folder || family && strings.HasPrefix(pkg, folder+"/")
}

func coveredByAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return covers(p, pkg) })
}
