package coordinator

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

// reportEach is how often one peer's good answers are told to Control: often
// enough for percentiles and failure detection, seldom enough to cost nothing
// at tens of thousands of answers a second. Failures are told at once.
const reportEach = 20 * time.Millisecond

// reports tallies how peers answer.
type reports struct {
	peers map[id.Node]*tally // looked up by key only
}

type tally struct {
	ok   uint32
	told time.Duration
}

func (r *reports) answered(now time.Duration, peer id.Node, latency time.Duration, out *core.Out) {
	t := r.peers[peer]
	if t == nil {
		t = &tally{told: now - reportEach}
		r.peers[peer] = t
	}
	t.ok++
	if now-t.told < reportEach {
		return
	}
	out.Reports = append(out.Reports, core.PeerReport{Peer: peer, OK: t.ok, Latency: latency})
	t.ok, t.told = 0, now
}

// slow tells of a peer that has not answered within latency, so that its
// percentiles show it though the answer may never be waited for.
func slow(peer id.Node, latency time.Duration, out *core.Out) {
	out.Reports = append(out.Reports, core.PeerReport{Peer: peer, Latency: latency})
}

func failure(peer id.Node, out *core.Out) {
	out.Reports = append(out.Reports, core.PeerReport{Peer: peer, Failed: 1})
}

func ahead(peer id.Node, stamp core.Stamp, out *core.Out) {
	out.Reports = append(out.Reports, core.PeerReport{Peer: peer, Ahead: stamp})
}
