// Package metrics shows what a node knows of itself and its cluster to
// Prometheus: docs/metrics.md lists what there is, and a test holds the page to
// what a node shows.
//
// Nothing is counted here. The machines count in plain fields of their own, and
// whoever asks for metrics has those read: once, into a [Reading], of which all
// series are made. A node that nobody watches pays nothing, and no request ever
// meets a lock or a label.
//
// Each file with families is about one part of the node. A new one is a
// function that returns its families, in the list of families.
package metrics
