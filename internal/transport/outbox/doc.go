// Package outbox is what waits for peers: a table of the addresses that a
// transport sends to, with a bounded queue of envelopes and a goroutine for
// each, how batches are taken from it, and when an address that could not be
// reached is tried again. All transports share it, so that they shed load,
// expire, batch and back off alike; what is theirs is a Sender.
package outbox
