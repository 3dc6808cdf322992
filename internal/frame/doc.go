// Package frame lets gRPC carry messages that are encoded already, so that hot
// paths encode into gRPC's own buffers and decode what they need. Other messages
// go through vtprotobuf, or protobuf where a type has no code of it. The bytes
// are those of protobuf in either case, so that any gRPC client can speak to a
// node.
package frame
