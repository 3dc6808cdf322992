// Package doctor checks the data directory of a node that does not run: what
// the engine's checksums say, and what the records say, each by itself and one
// against the other. It changes nothing, and yields a report as data.
//
// It stands above the engines and beside the shell's other parts, since it knows
// what the machines store: the sibling sets, hints and saved hash trees of
// package replica, and the control records of package membership, through the
// functions by which these packages let somebody look at a store from outside.
//
// Records are looked at one by one as the engine shows them, in any order, and
// what is kept of them are sums: counts, and for each of the 65,536 finest
// partitions the hash of its keys and the size of its hints. A layout's
// partitions are runs of these, so their trees and tallies can be held to the
// sums when the last record has been seen, wherever the layout stood. So the
// memory does not grow with the store, but for what the engine itself needs.
//
//	report.go    what comes out
//	doctor.go    a check: the engine's findings and the records
//	records.go   what is looked at in a record
//	compare.go   what is compared at the end
package doctor
