// Package transport is what a node sends envelopes through: the Transport
// that its runtime uses and the Handler that the runtime is to it.
//
//	grpcstream     one gRPC stream a peer, batched: what nodes use by default
//	httpjson       batches of JSON over HTTP, and the peer protocol for people
//	memnet         a network inside one process, with faults: what tests use
//	transporttest  the conformance suite that all pass
//	wire           envelopes as bytes or JSON and back, everything checked
//	pause          whether this process stood still
//	outbox         the bounded queue of what waits for one peer
//	mux            one listening address for HTTP/1.1 and HTTP/2
//
// # What a transport promises
//
// Send queues and returns at once. Envelopes for one address arrive in the
// order in which they were sent, as long as the connection lasts; each
// arrives once or not at all, and nobody is told which, with one exception:
// a request that provably never left comes back through SendFailed, so that
// its sender need not wait for a timeout. That is so when the address is
// unknown or refuses, when its node does not speak, and for what is still in
// the outbox when its deadline passes or the transport is closed. What was
// handed to a connection never comes back. Replies never come back either:
// their sender waits for nothing.
//
// # Age
//
// A message that is older than M, id.MaxMessageAge, must never be processed:
// that is what makes forgetting safe (DESIGN section 4). Deadlines bound the
// time that a message is held, at its sender and at its receiver: a deadline
// is Mono at its node, travels as the time that remains, and is Mono + that
// at the receiver. The time between the two is what a transport itself keeps
// below M, since no clock sees it.
//
// # Who checks what
//
// A transport hands over only what package wire has found to be well-formed.
// From is what the sender says, To whom it means, Cluster where it is: a
// receiver compares them with its own before it looks further.
package transport
