// Package memconn is a network of connections inside one process: what net's
// TCP is to a node, for tests that assemble whole nodes as users do and run
// them in the bubbles of testing/synctest. Package memnet stands in for a
// transport; this one stands below the real ones.
//
// It is as faithful as TCP is where it matters. Bytes take a while to arrive
// and wait for each other; what is sent over a way that is cut waits, silently,
// until the way is open again; a machine whose power is off answers nothing,
// and resets old connections when it is back; a machine that is up and does
// not listen refuses.
//
// No mutex is held while anybody waits, so that virtual time goes on.
package memconn
