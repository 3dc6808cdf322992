// Package usage tells what the nodes of a cluster use of their machines while
// they are measured. They say it themselves, in their metrics, which are read
// before and after and not in between, so that the reading costs the run
// nothing; what cannot be read is said with the reason.
package usage
