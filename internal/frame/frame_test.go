package frame

import (
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
)

func bytesOf(t *testing.T, v any) []byte {
	t.Helper()
	out, err := Codec{}.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Free()
	return out.Materialize()
}

// TestCodec: all three kinds of message are the same bytes, which protobuf reads.
func TestCodec(t *testing.T) {
	request := &dynamov1.GetRequest{Key: []byte("k"), R: 2}
	want, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	var raw Message
	copy(raw.Alloc(len(want)), want)
	for name, v := range map[string]any{"vtprotobuf": request, "raw": &raw, "raw of bytes": Of(want)} {
		if got := bytesOf(t, v); string(got) != string(want) {
			t.Errorf("%s: %x, want %x", name, got, want)
		}
	}
	text := wrapperspb.String("text") // which has no code of vtprotobuf
	if got, want := bytesOf(t, text), "\n\x04text"; string(got) != want {
		t.Errorf("protobuf: %q, want %q", got, want)
	}
	data := func(b []byte) mem.BufferSlice { // in two parts, as it may come
		return mem.BufferSlice{mem.SliceBuffer(b[:1]), mem.SliceBuffer(b[1:])}
	}
	var got dynamov1.GetRequest
	if err := (Codec{}).Unmarshal(data(want), &got); err != nil || !proto.Equal(&got, request) {
		t.Errorf("vtprotobuf: %v, %v", &got, err)
	}
	var m Message
	if err := (Codec{}).Unmarshal(data(want), &m); err != nil || string(m.Bytes()) != string(want) {
		t.Errorf("raw: %v", err)
	}
	m.Free()
	read := &wrapperspb.StringValue{}
	if err := (Codec{}).Unmarshal(data([]byte("\n\x04text")), read); err != nil || read.Value != "text" {
		t.Errorf("protobuf: %v, %v", read, err)
	}
	if _, err := (Codec{}).Marshal(7); err == nil {
		t.Error("a number was marshalled")
	}
	if err := (Codec{}).Unmarshal(data(want), new(int)); err == nil {
		t.Error("a number was unmarshalled")
	}
	if err := (Codec{}).Unmarshal(data([]byte("\n\xff")), &got); err == nil {
		t.Error("a malformed message was unmarshalled")
	}
}
