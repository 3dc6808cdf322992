package forget

import (
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// A member whose breaker is open is not asked, and blocks as one does that does
// not answer; when the breaker has closed, forgetting goes on.
func TestRoundsWaitForTheBreaker(t *testing.T) {
	_, stone := deleted()
	c := newCluster(t)
	c.store(stone, c.owners...)
	reaper := c.owners[0]
	circuit := func(s core.CircuitState) {
		v := *reaper.view
		v.Peers = append([]core.Peer(nil), v.Peers...)
		for i := range v.Peers {
			if v.Peers[i].ID == c.other.id {
				v.Peers[i].Circuit.State = s
			}
		}
		v.Layouts.Live = []*ring.Layout{c.layout}
		reaper.SetView(c.now, &v, &reaper.out)
		c.collect(reaper)
	}
	circuit(core.CircuitOpen)
	c.run(2 * enough)
	for _, e := range c.seen {
		if e.From == reaper.id && !e.Reply && e.To == c.other.id {
			t.Fatalf("%T is sent to a member whose breaker is open", e.Msg)
		}
	}
	c.expect("while nobody may ask a member", "ooo")
	if p := reaper.Progress(); p.Blocker != c.other.id {
		t.Errorf("blocked by %q; want %s", p.Blocker, c.other.id)
	}
	circuit(core.CircuitClosed)
	c.run(enough)
	c.expect("when it may be asked again", "---")
}
