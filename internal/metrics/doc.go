// Package metrics shows what a node knows of itself and its cluster to
// Prometheus. It has a registry of its own, since a program may embed several
// nodes and have metrics besides; docs/metrics.md lists what there is.
package metrics
