package grpcstream

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// message is a batch or a hello in the encoding of package wire: what streams
// carry. Its buffer comes from gRPC's pool and goes back there.
type message struct{ buffer mem.Buffer }

// codec hands messages through as they are: package wire has encoded them
// already, into gRPC's own buffers, or will decode them. The bytes are those
// of the protobuf messages, so any gRPC client can speak to a node.
type codec struct{}

var _ encoding.CodecV2 = codec{}

// Name is that of protobuf, which is what the bytes are.
func (codec) Name() string { return "proto" }

// Marshal gives the message's buffer to gRPC, which frees it.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*message)
	if !ok {
		return nil, fmt.Errorf("grpcstream: a stream cannot carry a %T", v)
	}
	return mem.BufferSlice{m.buffer}, nil
}

// Unmarshal puts the bytes into one buffer, which the receiver frees.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*message)
	if !ok {
		return fmt.Errorf("grpcstream: a stream cannot carry a %T", v)
	}
	m.buffer = data.MaterializeToBuffer(mem.DefaultBufferPool())
	return nil
}

// alloc gets memory for a message from gRPC's pool.
func (m *message) alloc(size int) []byte {
	pool := mem.DefaultBufferPool()
	b := pool.Get(size)
	m.buffer = mem.NewBuffer(b, pool)
	return *b
}

// take returns the bytes, which are valid until free.
func (m *message) bytes() []byte { return m.buffer.ReadOnlyData() }

func (m *message) free() { m.buffer.Free() }
