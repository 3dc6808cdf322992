// Package transporttest is the conformance suite of the transports: what
// package transport promises, as tests that every one of them passes.
//
// A transport's own tests provide a Network and call Run.
package transporttest
