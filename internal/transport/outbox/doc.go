// Package outbox is the bounded queue of envelopes that wait for one peer,
// and how batches are taken from it. All transports share it, so that they
// shed load, expire and batch alike.
package outbox
