// Package httpjson is the peer protocol as JSON over HTTP: what people, scripts
// and tests ask one node by itself, and a transport for clusters whose nodes
// speak it with each other. docs/protocol.md describes both with examples.
//
// # One node by itself
//
// A Handler answers get, put, hint, gossip and sync. It parses and checks, and
// has the node's own loops carry out what a peer would send: there is one way in
// which a node applies, hints, reads and hears gossip. The types of the wire
// stand in types.go and nowhere else; they are apart from those of packages
// version and core, and converting there and back changes nothing.
//
// # A transport
//
// A Transport has the shape of grpcstream's: a goroutine for each address that
// it sends to, an outbox before it, and batches that gather while the one before
// is under way. A batch is one POST of the JSON of package wire, and the next
// one follows its answer, so that envelopes arrive in order.
//
// A connection begins with a hello, which its dialer asks for. Until then
// nothing was handed over: what waits for a node that is down, stopped or cut
// off is known not to have been sent. Once a connection is had for a batch, all
// of it counts as sent, whatever becomes of it.
//
// What no deadline sees, the time in connections, is kept below M: a connection
// whose peer acknowledges nothing ends, one that is given up takes with it what
// has not left, a body must come in within seconds, and a process that stood
// still drops what it has connected and refuses what comes over connections of
// before.
//
// The root package wires it: Routes into the server of its address, whose
// connections ConnContext must see.
package httpjson
