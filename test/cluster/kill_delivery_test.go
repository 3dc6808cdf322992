package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// hintsOf returns how many keys a process keeps for others.
func hintsOf(p *process) (keys int, err error) {
	a, err := p.do(http.MethodGet, "/v1/status", nil)
	if err != nil {
		return 0, err
	}
	var s struct {
		Serving bool
		Hints   struct{ Pending []struct{ Keys int } }
	}
	if err := json.Unmarshal(a.body, &s); err != nil {
		return 0, err
	}
	for _, pending := range s.Hints.Pending {
		keys += pending.Keys
	}
	if !s.Serving {
		return keys, fmt.Errorf("%s does not serve yet", p.id)
	}
	return keys, nil
}

// TestKillInTheMiddleOfDelivery: a node comes back, and who keeps hints for it
// is killed while it delivers them. Nothing is lost and nothing left over, by
// hints alone.
func TestKillInTheMiddleOfDelivery(t *testing.T) {
	const keys = 1500
	dir := t.TempDir()
	var nodes []*process
	for i := range 4 {
		id := fmt.Sprint("n", i+1)
		args := []string{"--anti-entropy-interval", "0s", "--gossip-interval", "200ms", "--partitions", "64"}
		if i > 0 {
			args = append(args, "--join", nodes[0].addr)
		}
		listen := fmt.Sprintf("127.0.0.%d:0", i+1) // an address each, as machines have
		nodes = append(nodes, serve(t, id, listen, filepath.Join(dir, id), args...))
	}
	for _, p := range nodes {
		p.awaitMembers(4)
	}
	gone := nodes[3]
	gone.kill()
	value := func(i int) string { return fmt.Sprint("value-", i, strings.Repeat("-", 2000)) }
	each(t, keys, func(i int) error {
		code, body, err := nodes[i%3].put(fmt.Sprint("key-", i), value(i), "")
		if err == nil && code != http.StatusNoContent {
			err = fmt.Errorf("put: %d %s", code, body)
		}
		return err
	})
	before := 0
	await(t, "hints at n1", func() bool {
		n, err := hintsOf(nodes[0])
		before = n
		return err == nil && n > 0
	})
	gone.restart()
	await(t, "n1 to have begun its delivery", func() bool {
		n, err := hintsOf(nodes[0])
		return err == nil && n < before
	})
	nodes[0].kill()
	nodes[0].restart()
	await(t, "zero hints", func() bool {
		for _, p := range nodes {
			if n, err := hintsOf(p); err != nil || n > 0 {
				return false
			}
		}
		return true
	})
	held := 0
	for i := range keys {
		got := gone.inspect(fmt.Sprint("key-", i))
		if got.Error != "" || len(got.Values) == 0 {
			continue // it is no owner, which the number of keys that it holds tells from a loss
		}
		held++
		for _, v := range got.Values { // of which there are two where an owner was slow to answer: see readContext
			if string(v.Data) != value(i) {
				t.Errorf("key %d at the node that was away: %.20q", i, v.Data)
			}
		}
	}
	if held < keys*3/4*9/10 { // three of four nodes own each key
		t.Errorf("the node that was away holds %d of %d keys", held, keys)
	}
	each(t, keys, func(i int) error {
		code, body, _, err := gone.get(fmt.Sprint("key-", i), "?r=3&quorum=strict")
		if err == nil && (code != http.StatusOK || body != value(i)) {
			err = fmt.Errorf("get: %d, %d bytes", code, len(body))
		}
		return err
	})
}
