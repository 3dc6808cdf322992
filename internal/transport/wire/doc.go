// Package wire turns envelopes into the bytes that travel between nodes and
// back. Every transport uses it, the one inside a process too, so that all of
// them carry the same.
//
// The format is the protobuf of api/dynamo/v1/peer.proto; sibling sets, clocks
// and layouts are bytes fields in the encodings of packages version and ring.
//
// The same batch may travel as the JSON mapping of its protobuf message: it is
// turned into the bytes of that message, and looked at as those are.
//
// An Encoder writes a batch: envelopes of one sender to one receiver, whose
// names stand once. Decode checks everything: what it hands over holds the
// invariants of package core, and whatever it is given, it returns an error
// and neither panics nor allocates out of proportion to its input. Its limits
// are in limits.go. Decode keeps nothing of its input, and what it hands over
// is shared with nobody.
//
// Converting and back changes nothing but this: Addr does not travel, since
// it has served its purpose; an empty byte slice becomes nil; and Deadline is
// carried from the sender's Mono to the receiver's.
//
// Whether an envelope is a reply follows from its message, and is not written.
//
// A message or an enum value that is not known comes from a newer node. The
// envelope is skipped and counted; its sender sees a timeout, as it would if
// the envelope had been lost.
package wire
