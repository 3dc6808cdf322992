// Package dynamov1 is the generated code of the protocols, version 1.
//
// kv.proto is what clients speak to any node; docs/grpc-api.md describes it.
// peer.proto is what nodes speak to each other; package internal/transport/wire
// gives its bytes their meaning and checks them, and nothing else should use it.
// `make generate` writes the code anew.
package dynamov1
