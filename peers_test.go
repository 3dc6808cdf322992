package dynamo

import (
	"fmt"
	"testing"
)

// Each node sends by its own setting, and understands both: a cluster of one
// transport and a mixed one serve alike.
func TestTransports(t *testing.T) {
	for _, by := range [][]string{
		{TransportGRPC, TransportGRPC, TransportGRPC},
		{TransportHTTP, TransportHTTP, TransportHTTP},
		{TransportHTTP, TransportGRPC, TransportHTTP},
	} {
		t.Run(fmt.Sprint(by), func(t *testing.T) {
			var nodes []*Node
			for i, transport := range by {
				c := memoryConfig(3)
				setTransport(c, transport)
				if i > 0 {
					c.Seeds = []string{nodes[0].Addr()}
				}
				nodes = append(nodes, startNode(t, fmt.Sprintf("n%d", i+1), c))
			}
			for _, n := range nodes {
				waitReady(t, n)
			}
			for i := range 30 {
				key := fmt.Sprint("key-", i)
				put(t, nodes[i%3], key, key, nil, WithW(3))
				wantValues(t, get(t, nodes[(i+1)%3], key), key)
			}
			for i, n := range nodes {
				p := n.parts.Load().peers
				grpc, http := p.grpc.Stats().Sent.Envelopes, p.http.Stats().Sent.Envelopes
				if sent := p.Stats().Sent.Envelopes; sent == 0 || grpc > 0 && http > 0 || (http > 0) != (by[i] == TransportHTTP) {
					t.Errorf("n%d is to send by %s: it sent %d envelopes by gRPC and %d by HTTP", i+1, by[i], grpc, http)
				}
			}
		})
	}
}
