package coordinator

import (
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

// ahead tells Control of a peer that goes by newer layouts.
func ahead(peer id.Node, stamp core.Stamp, out *core.Out) {
	out.Reports = append(out.Reports, core.PeerReport{Peer: peer, Ahead: stamp})
}
