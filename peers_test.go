package dynamo

import (
	"fmt"
	"net/http"
	"strings"
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
				byGRPC, byHTTP := p.grpc.Stats(), p.http.Stats()
				sentGRPC, sentHTTP := byGRPC.Sent.Envelopes, byHTTP.Sent.Envelopes
				if sent := p.Stats().Sent.Envelopes; sent == 0 || sentGRPC > 0 && sentHTTP > 0 || (sentHTTP > 0) != (by[i] == TransportHTTP) {
					t.Errorf("n%d is to send by %s: it sent %d envelopes by gRPC and %d by HTTP", i+1, by[i], sentGRPC, sentHTTP)
				}
				// It shows what came in, whichever way the others send.
				if all := p.Stats().Received.Envelopes; all == 0 || all < byGRPC.Received.Envelopes+byHTTP.Received.Envelopes {
					t.Errorf("n%d has received %d envelopes by gRPC and %d by HTTP, and shows %d",
						i+1, byGRPC.Received.Envelopes, byHTTP.Received.Envelopes, all)
				}
			}
		})
	}
}

// A malformed batch counts by whichever protocol it comes, also by the one that
// the node does not send by.
func TestMalformedIsCountedByEitherTransport(t *testing.T) {
	for _, transport := range []string{TransportGRPC, TransportHTTP} {
		t.Run(transport, func(t *testing.T) {
			c := memoryConfig(1)
			setTransport(c, transport)
			n := startNode(t, "n1", c)
			q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+n.Addr()+"/rpc/envelopes", strings.NewReader("junk"))
			if err != nil {
				t.Fatal(err)
			}
			answer, err := http.DefaultClient.Do(q)
			if err != nil {
				t.Fatal(err)
			}
			if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusBadRequest {
				t.Errorf("it is answered with %d, %v; want 400", answer.StatusCode, err)
			}
			if got := value(t, n, "dynamo_transport_dropped_total", "invalid"); got != 1 {
				t.Errorf("%v malformed messages are shown; want 1", got)
			}
		})
	}
}
