// Package latency keeps the latest response times of one peer and tells their
// percentiles, by which callers choose whom to ask and when to hedge: the known
// ones first, the fastest of them first, then those that are not known.
//
// It is a calculator: the time is an argument, and a Window belongs to the one
// machine that fills it. It knows nothing of nodes, so that clients use it as
// nodes do.
package latency
