// Package grpcstream is the transport between nodes: one gRPC stream a peer.
//
// # Shape
//
// A Transport is both ends. As a client it has one goroutine, one connection
// and one stream for each address that it sends to; everything for that node,
// requests and replies of all shards, goes over them. As a server it receives
// over the streams that others opened to it. So two nodes that speak have two
// connections, each used in one direction. In the other direction a stream
// carries only the hello of the node that was called: the caller hands over
// nothing before it, and therefore knows that whatever waits for a node that
// is down, stopped or cut off was never sent.
//
// The root package wires it: it listens, splits the connections with package
// mux, and gives those that speak HTTP/2 to Serve.
//
//	t, err := grpcstream.New(grpcstream.Options{Self: self, Handler: rt, Mono: mono})
//	go t.Serve(split.HTTP2())
//	…
//	err = t.Close()
//
// # Batches
//
// A peer's goroutine yields the processor once, so that whoever is about to
// send does, and then takes all that is queued into one message. The cost of
// a message is shared by all envelopes in it; under load that makes several
// times the throughput, and costs a lone envelope next to nothing.
//
// # Failures
//
// A peer that refuses gets no attempt before a pause has passed, from 50 ms
// growing to a second; until then what is sent to it fails at once. Reach ends
// the pause. There is no attempt without something to send. A connection that is silent for
// id.MaxMessageAge/2 is closed, by keepalive at both ends and by TCP's user
// timeout, and so is one that takes that long for a message: this is what
// keeps the time that no deadline sees below id.MaxMessageAge. For the same
// reason a process that was itself stopped for that long drops what it has
// connected and received.
//
// A message that is malformed ends its stream with an error, and the peer is
// connected to again like any other; nothing else happens here.
package grpcstream
