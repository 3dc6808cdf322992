// Package grpckv is what clients talk to over gRPC: the service dynamo.v1.KV,
// which docs/grpc-api.md describes to its users. It is served on the node's one
// address by the server that package grpcstream has for peers.
//
// Requests are checked by the same server.Limits and carried out by the same
// runtime as those that come over HTTP. What is of its own is the Stream: many
// requests under way at a time, with no goroutine for any of them. A stream has
// two goroutines. One receives and begins requests; the runtime hands each
// result to a queue; the other one yields the processor once, so that whoever is
// about to finish does, and then takes all that is queued into one message.
package grpckv
