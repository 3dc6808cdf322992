// Package httpjson is the peer protocol for curl and for debugging: what
// nodes can ask each other, as JSON over HTTP. docs/peer-protocol.md describes
// it with examples.
//
// The types of the wire stand here and nowhere else; they are apart from those
// of package version, and a set that goes out is told whole: its clock beside
// its versions.
package httpjson
