// Package audit holds what clients of a cluster did and were told to what a
// cluster promises. The simulator builds on its parts and knows each version
// from the machine that minted it; a Log knows only what real clients know, and
// is enough to hold real nodes to the same promises: no write that was
// acknowledged is lost, nothing appears that nobody wrote, nothing that was
// replaced stays or comes back, contexts cover what their holders have seen and
// nothing else, strict quorums overlap, and replicas converge.
package audit
