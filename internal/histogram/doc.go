// Package histogram counts how long things took, in two sets of buckets at
// once: those with the bounds that somebody has chosen, and exponential ones
// that are the same everywhere, so that any histograms can be added up and any
// percentile be told to a tenth.
//
// It is a calculator: a Histogram belongs to the one machine that fills it. It
// has a fixed size, so observing allocates nothing, looks nothing up and takes
// no lock, and a plain assignment is a snapshot.
package histogram
