// Package procs runs the nodes of a cluster as processes of this machine, in
// a directory that goes away with them, and tells what they use of it.
package procs
