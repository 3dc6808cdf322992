package sim

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// checkHealth holds the opinions of a new view to the truth: in calm times
// nobody who runs is held for dead.
func (w *world) checkHealth(p *process, v *core.View) {
	w.countStatuses(p, v)
	if !w.calm(w.now) || !p.joined {
		return
	}
	for i := range v.Peers {
		q := w.nodes[peerIndex(v.Peers[i].ID)]
		if v.Peers[i].Status == core.Dead && q.up && w.now-q.born > w.calmAfter() {
			w.fail("failure detection", "%v holds %v for dead while nothing is wrong", p.id, q.id)
		}
	}
}

// countStatuses counts what a view says that the one before it did not.
func (w *world) countStatuses(p *process, v *core.View) {
	for i := range v.Peers {
		peer := &v.Peers[i]
		before := core.NoStatus
		if p.view != nil {
			old, _ := p.view.Peer(peer.ID)
			before = old.Status
		}
		if peer.Status == before {
			continue
		}
		switch up := w.nodes[peerIndex(peer.ID)].up; {
		case peer.Status == core.Dead && up:
			w.report.Stats.FalselyDead++
		case peer.Status == core.Dead:
			w.report.Stats.RightlyDead++
		case peer.Status == core.Suspected:
			w.report.Stats.Suspected++
		case before != core.NoStatus:
			w.report.Stats.Revived++
		}
	}
}

// detectBound is how long a node that is down may be held for alive while
// nothing else happens: a peer that has hardly been heard is given fifteen
// intervals, and one whose heartbeats came as slowly as the machine takes them for
// a rhythm, twenty-six; its last heartbeat takes two to be everywhere.
func (w *world) detectBound() time.Duration { return 28*w.plan.Gossip + time.Second }

// checkSilence looks, when a node is started again, whether those who have been
// there all the time had noticed that it was down.
func (w *world) checkSilence(q *process) {
	since := w.now - w.detectBound()
	if q.downSince > since || w.troubled > since || !q.joined {
		return // too short to be noticed, or news of before may have come late
	}
	for _, p := range w.nodes {
		if p == q || !p.up || p.view == nil || !p.joined || p.born > since || p.stalled > since {
			continue
		}
		peer, known := p.view.Peer(q.id)
		if known && peer.Status != core.Dead {
			w.fail("failure detection", "%v holds %v for %v, which has been down for %v", p.id, q.id, peer.Status, w.now-q.downSince)
		}
		w.report.Stats.Noticed++
	}
}
