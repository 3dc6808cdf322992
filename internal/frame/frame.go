package frame

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// Message is one encoded message. Its buffer comes from gRPC's pool and goes
// back there: by gRPC when the message has been sent, by Free when it was
// received.
type Message struct{ buffer mem.Buffer }

// Of returns a message of these bytes, which must not be changed any more.
func Of(b []byte) *Message { return &Message{buffer: mem.SliceBuffer(b)} }

// Alloc gets memory for a message that is to be sent from gRPC's pool. It is
// to be filled to its end.
func (m *Message) Alloc(size int) []byte {
	pool := mem.DefaultBufferPool()
	b := pool.Get(size)
	m.buffer = mem.NewBuffer(b, pool)
	return *b
}

// Bytes returns what was received; it is valid until Free.
func (m *Message) Bytes() []byte { return m.buffer.ReadOnlyData() }

// Free gives the memory of a received message back.
func (m *Message) Free() { m.buffer.Free() }

// Codec hands Messages through as they are, and encodes others.
type Codec struct{}

var _ encoding.CodecV2 = Codec{}

// Name is that of protobuf, which is what the bytes are.
func (Codec) Name() string { return "proto" }

// fast is what vtprotobuf generates.
type fast interface {
	SizeVT() int
	MarshalToSizedBufferVT(b []byte) (int, error)
	UnmarshalVT(b []byte) error
}

// Marshal encodes v; of a Message it gives the buffer to gRPC, which frees it.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case *Message:
		return mem.BufferSlice{m.buffer}, nil
	case fast:
		var out Message
		_, err := m.MarshalToSizedBufferVT(out.Alloc(m.SizeVT()))
		return mem.BufferSlice{out.buffer}, err
	case proto.Message:
		b, err := proto.Marshal(m)
		return mem.BufferSlice{mem.SliceBuffer(b)}, err
	}
	return nil, fmt.Errorf("frame: a stream cannot carry a %T", v)
}

// Unmarshal decodes into v; a Message gets all bytes in one buffer, which its
// receiver frees.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	if m, ok := v.(*Message); ok {
		m.buffer = buffer
		return nil
	}
	defer buffer.Free()
	switch m := v.(type) {
	case fast:
		return m.UnmarshalVT(buffer.ReadOnlyData())
	case proto.Message:
		return proto.Unmarshal(buffer.ReadOnlyData(), m)
	}
	return fmt.Errorf("frame: a stream cannot carry a %T", v)
}
