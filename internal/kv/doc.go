// Package kv has what a node inside a program and a client of a cluster have
// in common: contexts, clocks, what a read returns, and errors. The root package
// and package client show it under their own names, so that code which works
// with one works with the other, and so that a client's program holds no more
// of this module than it uses.
package kv
