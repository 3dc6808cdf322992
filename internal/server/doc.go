// Package server is what clients talk to over HTTP: reading, writing and
// deleting keys at /v1/kv/, the cluster's status at /v1/status, and /health.
// docs/http-api.md describes it to its users.
//
// It parses and checks requests, hands them to a [Backend] (the runtime), and
// prints the results. It holds no state of the cluster, so everything that
// decides about data is below it. Two things here are shared with the
// embedding API, which serves the same node without HTTP: [Limits], what a
// node accepts, and [Show], how a sibling set looks to a client.
//
// Paths are matched by hand and keys are decoded from the path as it was
// sent: a mux would clean `..` and `//`, which are parts of keys here.
package server
