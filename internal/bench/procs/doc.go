// Package procs runs the nodes of a cluster as processes of this machine, in
// a directory that goes away with them.
package procs
