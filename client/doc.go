// Package client reads and writes keys of a cluster from another program, over
// the gRPC service dynamo.v1.KV.
//
//	c, err := client.New(ctx, []string{"10.0.0.1:7171", "10.0.0.2:7171"}, nil)
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//	result, err := c.Get(ctx, "cart")
//
// A [Client] is meant to be shared by all of a program: it is safe for
// concurrent use, and the more callers it has the less each request costs.
//
// # Where requests go
//
// [New] asks any of the addresses for the cluster's topology, and from then on
// is told when it changes. A request goes to an owner of its key, which
// coordinates it: to the first one of the key's owners that is not clearly
// slower than another; one with [Overwrite] to the first one that lives, so that
// overwrites in sequence meet at one node. Where no owner can be reached, any
// other node takes the request and forwards it.
//
// There is one connection to each node that is used, with one stream of
// requests, or more by Config.Connections. What callers ask at the same time
// leaves in one message, and answers come back in any order.
//
// # What is repeated
//
// Every write has a write ID, so repeating it is safe: an owner that has stored
// it already goes on with it, and does not store it twice. A request that a node
// could not take, or did not answer since its connection broke, goes to the next
// node at once; one that is not answered within Config.AttemptTimeout goes to the
// next one too, while the first may still answer. A node that is overloaded is
// asked again after a pause; repetitions of this kind are limited to a tenth of all
// requests. None comes later than the request's timeout or its context's end.
//
// # Causality
//
// Reads return all siblings of a key and a [Context]; handed to a write, it says
// what that write replaces. The root package's documentation explains it, and
// [Client.Update] does it for you: it reads, lets a function make the new value
// of all siblings, and writes it with the context of the read.
//
// The types of contexts, clocks, results and errors are those of the root package.
// This package does not bring a node, or any storage, into your program.
package client
