// Package latency keeps the latest response times of one peer and tells their
// percentiles, by which callers choose whom to ask and when to hedge.
//
// It is a calculator: the time is an argument, and a Window belongs to the one
// machine that fills it.
package latency
