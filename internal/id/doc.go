// Package id holds what every other package of the system may know: the
// names of nodes and the named limits of the system.
//
// It is floor 0: it imports nothing of this module, holds no state and does
// no IO.
package id
