package archtest_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/dynamo-kv/dynamo/internal/archtest"
)

// problems returns what the policy says to a module of these files.
func problems(t *testing.T, policy *archtest.Policy, files map[string]string) []archtest.Problem {
	t.Helper()
	fsys := fstest.MapFS{"go.mod": {Data: []byte("module example.org/m\n\ngo 1.26\n")}}
	for name, source := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(source)}
	}
	found, err := policy.Check(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// testImportsRefused: every file breaks one rule of the import graph.
func testImportsRefused(t *testing.T, policy *archtest.Policy) {
	tests := []struct{ name, file, source, want string }{
		{"no floor", "internal/nowhere/a.go", `package nowhere`, "add it to floors() in internal/archtest/floors.go"},
		{"below a floor's package", "internal/version/sub/a.go", `package sub`, "stands on no floor"},
		{"upward", "internal/id/a.go", `package id; import _ "example.org/m/internal/ring"`, "imports go downward"},
		{"upward into the shell", "internal/replica/a.go", `package replica; import _ "example.org/m/internal/storage"`, "on floor 4"},
		{"upward to the root", "internal/runtime/a.go", `package runtime; import _ "example.org/m"`, "imports go downward"},
		{"sideways", "internal/ring/a.go", `package ring; import _ "example.org/m/internal/version"`, "both stand on floor 1"},
		{"sideways between machines", "internal/replica/a.go", `package replica; import _ "example.org/m/internal/coordinator"`, "both stand on floor 2"},
		{"between families", "internal/storage/a.go", `package storage; import _ "example.org/m/internal/transport/wire"`, "both stand on floor 4"},
		{"behind a build tag", "internal/id/a.go", "//go:build windows\n\npackage id; import _ \"example.org/m/internal/ring\"", "imports go downward"},
		{"core and a calculator", "internal/core/a.go", `package core; import _ "example.org/m/internal/quorum"`, "internal/id, internal/version, internal/ring, internal/histogram only"},
		{"a client with a node", "client/a.go", `package client; import _ "example.org/m/internal/runtime"`, "api/dynamo/v1 only"},
		{"another caller of node", "node.go", `package m; import _ "example.org/m/internal/node"`, "internal/runtime, internal/sim/... only"},
		{"another test that calls node", "internal/server/a_test.go", `package server; import _ "example.org/m/internal/node"`, "internal/runtime, internal/sim/... only"},
		{"the wire's types", "internal/runtime/a.go", `package runtime; import _ "example.org/m/api/dynamo/v1"`, "internal/transport/..."},
		{"help for tests", "internal/sim/a.go", `package sim; import _ "example.org/m/internal/core/coretest"`, "tests only"},
		{"a library", "internal/id/a.go", `package id; import _ "github.com/cockroachdb/pebble/v2"`, "of libraries it imports"},
		{"a lock", "internal/id/a.go", `package id; import _ "sync"`, "nothing to lock"},
		{"an atomic", "internal/id/a.go", `package id; import _ "sync/atomic"`, "nothing to lock"},
		{"a context", "internal/id/a.go", `package id; import _ "context"`, "deadlines come in"},
		{"the system", "internal/node/a.go", `package node; import _ "os"`, "no IO"},
		{"the network", "internal/id/a.go", `package id; import _ "net"`, "no IO"},
		{"files", "internal/id/a.go", `package id; import _ "io/fs"`, "no IO"},
		{"a log", "internal/id/a.go", `package id; import _ "log/slog"`, "no IO"},
		{"true randomness", "internal/id/a.go", `package id; import _ "crypto/rand"`, "seeded source"},
		{"the scheduler", "internal/id/a.go", `package id; import _ "runtime"`, "process that it runs in"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantProblem(t, problems(t, policy, map[string]string{tt.file: tt.source}), tt.file, tt.want)
		})
	}
}

// testCodeRefused: every source breaks one rule of the pure floors.
func testCodeRefused(t *testing.T, policy *archtest.Policy) {
	const (
		clock   = "time is an argument"
		channel = "no channels"
		global  = "no variable"
		order   = "goes over a map"
		set     = "not changed outside of package version"
	)
	tests := []struct{ file, source, want string }{
		{"internal/id/now.go", `package id; import "time"; func f() time.Time { return time.Now() }`, clock},
		{"internal/id/alias.go", `package id; import clock "time"; func g() { clock.Sleep(1) }`, clock},
		{"internal/id/value.go", `package id; import "time"; func h() func(time.Time) time.Duration { return time.Since }`, clock},
		{"internal/id/dot.go", `package id; import . "time"; func i() *Timer { return NewTimer(1) }`, clock},
		{"internal/id/bugs.go", "//go:build simbugs\n\npackage id; import \"time\"; func j() { <-time.After(1) }", clock},
		{"internal/id/print.go", `package id; import "fmt"; func k() { fmt.Println() }`, "no IO"},
		{"internal/id/pull.go", `package id; import "iter"; func l(s iter.Seq[int]) { iter.Pull(s) }`, "coroutine"},
		{"internal/id/init.go", `package id; func init() {}`, "no init"},
		{"internal/id/var.go", `package id; var n int`, global},
		{"internal/id/err.go", `package id; var ErrCount int`, global},
		{"internal/id/table.go", `package id; var table = []int{1} //nolint:gochecknoglobals`, global},
		{"internal/ring/rand.go", `package ring; import "math/rand"; func f() int { return rand.Int() }`, "handed in"},
		{"internal/ring/rand2.go", `package ring; import "math/rand/v2"; func g() int { return rand.IntN(2) }`, "handed in"},
		{"internal/ring/generic.go", `package ring; import "math/rand/v2"; func h() int { return rand.N[int](2) }`, "handed in"},
		{"internal/version/go.go", `package version; func f() { go f() }; type Siblings struct { Clock int; Versions []struct{ Data int } }`, "no goroutine"},
		{"internal/version/field.go", `package version; type t struct{ c chan int }`, channel},
		{"internal/version/send.go", `package version; func g[C interface{ ~[]int }](c C) { h() <- 1 }; func h() (c chan<- int) { return }`, channel},
		{"internal/version/select.go", `package version; func i() { select {} }`, channel},
		{"internal/quorum/range.go", `package quorum; func f(m map[int]int) (s []int) { for k := range m { s = append(s, k) }; return s }`, order},
		{"internal/quorum/named.go", `package quorum; type M map[int]int; func g(m M) (n int) { for _, v := range m { n -= v }; return n }`, order},
		{"internal/quorum/param.go", `package quorum; func h[M ~map[K]V, K comparable, V any](m M) { for range m {}; for k := range m { _ = k } }`, order},
		{"internal/quorum/unexplained.go", "package quorum; func i(m M) {\n for k := range m { // order does not matter\n _ = k } }", order},
		{"internal/quorum/maps.go", `package quorum; import "maps"; func j(m M) { for k := range maps.Keys(m) { _ = k } }`, order},
		{"internal/quorum/collect.go", `package quorum; import ("maps"; "slices"); func k(m M) []int { return slices.Collect(maps.Values(m)) }`, order},
		{"internal/breaker/types.go", `package breaker; var _ = undefined`, "does not type-check: internal/breaker/types.go"},
		{"internal/replica/set.go", `package replica; import "example.org/m/internal/version"; func g(s version.Siblings) { s.Clock++ }`, set},
		{"internal/replica/pointer.go", `package replica; import "example.org/m/internal/version"; func h(s *version.Siblings) { (*s).Versions[0].Data = 1 }`, set},
		{"internal/replica/deep.go", `package replica; import "example.org/m/internal/version"; func i(m []struct{ s version.Siblings }) { m[0].s.Versions = nil }`, set},
		{"internal/replica/other.go", `package replica; import "example.org/m/internal/quorum"; func f(m quorum.M) { for k := range m { _ = k } }`, order},
	}
	files := map[string]string{}
	for _, tt := range tests {
		files[tt.file] = tt.source
	}
	found := problems(t, policy, files)
	for _, tt := range tests {
		wantProblem(t, found, tt.file, tt.want)
	}
}

// wantProblem fails unless a file, or its package, has a problem that says
// want.
func wantProblem(t *testing.T, found []archtest.Problem, file, want string) {
	t.Helper()
	folder := file[:max(strings.LastIndexByte(file, '/'), 0)]
	for _, p := range found {
		mine := strings.HasPrefix(p.Where, file+":") || p.Where == folder
		if mine && strings.Contains(p.What, want) {
			return
		}
	}
	t.Errorf("%s: no problem that says %q, of %v", file, want, found)
}

// testAllowed: what the policy must let through.
func testAllowed(t *testing.T, policy *archtest.Policy) {
	found := problems(t, policy, map[string]string{
		"internal/id/id.go": `package id
			import ("errors"; "fmt"; "time"; "math/rand/v2"; "maps"; "slices")
			const Limit = 5 * time.Second
			var ErrX = errors.New("x")
			var ( errY = fmt.Errorf("y: %w", ErrX) )
			var _ fmt.Stringer = Time{}
			var table = [...]int{1, 2} //nolint:gochecknoglobals // never written
			type Time struct{ time.Time }
			func (t Time) Now() time.Time { return t.Add(Limit) }
			func Use(t Time, r *rand.Rand) int { t.Now(); return r.IntN(table[0]) }
			func Source(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }
			func Keys(m map[int]int) (keys []int) {
				for k := range m { // sorted below
					keys = append(keys, k)
				}
				slices.Sort(keys)
				for k := range m { delete(m, k) } // order does not matter: all go
				for _, k := range keys { m[k] = k }
				for range m { keys = nil }
				return append(keys, slices.Sorted(maps.Keys(m))...)
			}`,
		"internal/id/id_test.go":     `package id; import ("sync"; "os"); var mu sync.Mutex; var _ = os.Args`,
		"internal/bug/on.go":         "//go:build simbugs\n\npackage bug\n\nimport \"sync/atomic\"\n\nvar on atomic.Bool\n\nfunc On() bool { return on.Load() }",
		"internal/bug/off.go":        "//go:build !simbugs\n\npackage bug\n\nfunc On() bool { return false }",
		"internal/ring/ring.go":      `package ring; import ("example.org/m/internal/bug"; "github.com/cespare/xxhash/v2"); func F() uint64 { bug.On(); return xxhash.Sum64(nil) }`,
		"internal/core/core.go":      `package core; import _ "example.org/m/internal/ring"`,
		"internal/node/node_test.go": `package node_test; import _ "example.org/m/internal/node"`,
		"internal/node/node.go":      `package node; import _ "example.org/m/internal/core"`,
		"internal/sim/sim.go":        `package sim; import ("example.org/m/internal/node"; "sync"); var mu sync.Mutex; var _ node.X`,
		"internal/storage/a.go":      `package storage; import _ "example.org/m/internal/storage/vfs"`,
		"internal/storage/vfs/a.go":  `package vfs; import _ "time"; func init() { go func() {}() }`,
		"internal/transport/a/a.go":  `package a; import _ "example.org/m/api/dynamo/v1"`,
		"api/dynamo/v1/a.pb.go":      `package dynamov1`,
		"node.go":                    `package m; import _ "example.org/m/internal/storage"`,
		"cmd/dynamo/main.go":         `package main; import _ "example.org/m"; func main() {}`,
		"test/cluster/a_test.go":     `package cluster; import _ "example.org/m/cmd/dynamo"`,
		"tools/go.mod":               "module example.org/m/tools",
		"tools/a.go":                 `package tools`,
		"internal/id/testdata/a.go":  `no Go`,
	})
	for _, p := range found {
		t.Error(p)
	}
}
