package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// interrupt stops the process in order, as an operator does.
func (p *process) interrupt() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		p.t.Fatal(err)
	}
	<-p.exited
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Fatalf("%s ended with code %d: %s", p.id, code, p.stderr)
	}
}

// migrate runs dynamo migrate and returns the exit code and what it says.
func migrate(t *testing.T, args ...string) (int, string) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path, append([]string{"migrate"}, args...)...).CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode(), string(out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, string(out)
}

// rolling is a cluster whose nodes go to other engines, one after the other.
type rolling struct {
	t     *testing.T
	dir   string
	nodes []*process
	want  map[string]string // empty: deleted
}

func newRolling(t *testing.T, engine string) *rolling {
	r := &rolling{t: t, dir: t.TempDir(), want: make(map[string]string)}
	args := []string{"--engine", engine, "--anti-entropy-interval", "1s", "--gossip-interval", "200ms", "--circuit-breaker-reset-timeout", "500ms"}
	for i := range 3 {
		id := fmt.Sprint("n", i+1)
		if i > 0 {
			args = append(slices.Clone(args[:8]), "--join", r.nodes[0].addr)
		}
		r.nodes = append(r.nodes, serve(t, id, "127.0.0.1:0", filepath.Join(r.dir, id), args...))
	}
	r.whole()
	return r
}

// whole waits until all nodes see each other alive, and nobody keeps a hint.
func (r *rolling) whole() {
	r.t.Helper()
	for _, p := range r.nodes {
		p.awaitMembers(3)
		await(r.t, p.id+" to see all alive and to keep no hints", func() bool {
			s, err := p.status()
			if err != nil || !s.Serving || len(s.Hints.Pending) > 0 {
				return false
			}
			alive := 0
			for _, m := range s.Members {
				if m.Status == "alive" {
					alive++
				}
			}
			return alive == 3
		})
	}
}

// write puts keys and deletes every fifth of them again, through two of the nodes,
// with so many replicas.
func (r *rolling) write(prefix string, keys, w int, a, b *process) {
	r.t.Helper()
	query := fmt.Sprint("?overwrite=true&w=", w)
	each(r.t, keys, func(i int) error {
		key := fmt.Sprint(prefix, "/", i)
		code, body, err := a.put(key, "value of "+key, query)
		if err == nil && code == http.StatusNoContent && i%5 == 0 {
			var answer answer
			answer, err = b.do(http.MethodDelete, "/v1/kv/"+key+query, nil)
			code, body = answer.code, string(answer.body)
		}
		if err == nil && code != http.StatusNoContent {
			err = fmt.Errorf("it is answered %d %s", code, body)
		}
		return err
	})
	for i := range keys {
		key := fmt.Sprint(prefix, "/", i)
		if r.want[key] = "value of " + key; i%5 == 0 {
			r.want[key] = ""
		}
	}
}

// check reads every key through a node.
func (r *rolling) check(p *process) {
	r.t.Helper()
	keys := make([]string, 0, len(r.want))
	for key := range r.want {
		keys = append(keys, key)
	}
	each(r.t, len(keys), func(i int) error {
		code, body, _, err := p.get(keys[i], "")
		want, wantCode := r.want[keys[i]], http.StatusOK
		if want == "" {
			wantCode = http.StatusNotFound
		}
		if err == nil && (code != wantCode || want != "" && body != want) {
			err = fmt.Errorf("%s through %s is %d %q, want %d %q", keys[i], p.id, code, body, wantCode, want)
		}
		return err
	})
}

// move stops a node, moves its data and starts it with the new engine; while it
// is away, meanwhile is called.
func (r *rolling) move(i int, engine string, meanwhile func()) {
	r.t.Helper()
	p, dir := r.nodes[i], filepath.Join(r.dir, r.nodes[i].id)
	if code, out := migrate(r.t, dir, "--to", engine); code != 4 || !strings.Contains(out, "in use") {
		r.t.Errorf("while %s runs, its migration ends with %d: %s", p.id, code, out)
	}
	p.interrupt()
	before, err := os.ReadFile(filepath.Join(dir, "identity.json"))
	if err != nil {
		r.t.Fatal(err)
	}
	meanwhile()
	if code, out := migrate(r.t, dir, "--to", engine); code != 0 || !strings.Contains(out, "Start the node with --engine "+engine) {
		r.t.Fatalf("the migration of %s to %s ends with %d: %s", p.id, engine, code, out)
	}
	was := p.args[slices.Index(p.args, "--engine")+1]
	p.args[slices.Index(p.args, "--engine")+1] = engine
	after, err := os.ReadFile(filepath.Join(dir, "identity.json"))
	if want := bytes.Replace(before, []byte(was), []byte(engine), 1); err != nil || !bytes.Equal(after, want) {
		r.t.Errorf("the identity of %s was %s and is %s (%v)", p.id, before, after, err)
	}
	p.restart()
}

// TestRollingMigration moves the nodes of a cluster from lss to three other
// engines, one after the other. The first move is of a cluster at rest: its node
// takes over the hash trees that it had saved, and anti-entropy finds no partition
// in which it differs. During the others clients write. All of it is there at any
// time, through every node.
func TestRollingMigration(t *testing.T) {
	r := newRolling(t, "lss")
	r.write("first", 500, 3, r.nodes[0], r.nodes[1]) // with all, so that nothing is under way afterwards
	r.whole()
	r.move(2, "pebble", func() {})
	r.whole()
	// What the others have found to differ may have been under way when it was
	// compared, amid the writes. The node that was moved has seen none of that.
	const pairs, compared, differing = "dynamo_antientropy_pairs", "dynamo_antientropy_pairs_compared", "dynamo_antientropy_partitions_differing_total"
	await(t, "the moved node to have compared all of it with the others", func() bool {
		p := r.nodes[2]
		return p.metric(pairs) > 0 && p.metric(pairs) == p.metric(compared)
	})
	if n := r.nodes[2].metric(differing); n != 0 {
		t.Errorf("it found %v partitions that differ", n)
	}
	if loaded := r.nodes[2].metric(`dynamo_hash_trees_total{source="loaded"}`); loaded <= 0 {
		t.Errorf("the node has taken over %v hash trees", loaded)
	}
	if wrong := r.nodes[2].metric(`dynamo_hash_trees_total{source="wrong"}`); wrong > 0 {
		t.Errorf("%v hash trees were wrong", wrong)
	}
	for _, p := range r.nodes {
		r.check(p)
	}
	for i, engine := range []string{"badger", "bolt"} {
		others := []*process{r.nodes[1-i], r.nodes[2]}
		r.move(i, engine, func() {
			r.write("without-"+engine, 200, 2, others[0], others[1])
			for _, p := range others {
				r.check(p)
			}
		})
		r.whole()
		for _, p := range r.nodes {
			r.check(p)
		}
	}
}
