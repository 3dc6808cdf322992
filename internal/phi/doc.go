// Package phi is the calculator of the phi accrual failure detector
// (Hayashibara et al. 2004): how surprising it is to have heard nothing of a
// peer for a while, given the rhythm in which it used to be heard.
//
// Phi is -log10 of the probability that a peer that lives stays silent for at
// least as long as it has by now, with the gaps between its signs of life taken
// as normally distributed. Phi 1 is wrong one time in ten, phi 8 one time in a
// hundred million, as far as the gaps are normal; the floor on their deviation
// is what makes the figures hold where they are not.
//
// The tail is not clamped: phi is computed from the logarithm of the
// complementary distribution itself, so that it goes on growing with the square
// of the silence where the probability has long left the range of a float64.
//
// It is a calculator: time comes in as an argument, and nothing is kept but the
// window of gaps.
package phi
