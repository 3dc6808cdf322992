// Package breaker decides whether a peer is worth calling: the circuit breaker
// of one peer.
//
// It is closed while calls succeed. A number of failures in a row open it:
// nobody calls, so that nobody waits for a peer that does not answer. After a
// while it is half-open and lets a few probes through; a number of successes
// among them close it again, a single failure opens it. It is half-open before
// its time where somebody, for want of anybody else, has called the peer all
// the same, and was answered.
//
// Each change of the state begins a new generation. A call notes the one that
// it began in, and its result counts only within that: what comes late says
// nothing about the state that it finds.
//
// It is a calculator: the time is an argument, and a Breaker belongs to the one
// machine that counts the results.
package breaker
