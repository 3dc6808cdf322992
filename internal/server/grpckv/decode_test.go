package grpckv

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// full has every field of every operation.
func full() *dynamov1.Requests {
	return &dynamov1.Requests{Requests: []*dynamov1.Request{
		{Id: 1 << 63, Timeout: 5, Traceparent: "tp", RequestId: "name", Op: &dynamov1.Request_Get{Get: &dynamov1.GetRequest{
			Key: []byte("g"), R: 2, Quorum: dynamov1.QuorumKind_QUORUM_KIND_STRICT, BlockingRepair: true,
		}}},
		{Id: 2, Op: &dynamov1.Request_Put{Put: &dynamov1.PutRequest{
			Key: []byte("p"), Value: []byte("value"), Context: []byte("context"), Overwrite: true, W: 3,
			Quorum: dynamov1.QuorumKind_QUORUM_KIND_SLOPPY, WriteId: []byte("0123456789abcdef"),
		}}},
		{Id: 3, Op: &dynamov1.Request_Delete{Delete: &dynamov1.DeleteRequest{
			Key: []byte("d"), Context: []byte("context"), Overwrite: true, W: 1,
			Quorum: dynamov1.QuorumKind_QUORUM_KIND_STRICT, WriteId: []byte("fedcba9876543210"),
		}}},
		{},
	}}
}

func encoded(t testing.TB, m *dynamov1.Requests) []byte {
	t.Helper()
	b, err := m.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDecode: a decoder gives what the generated code would, and a used one what
// a new one does.
func TestDecode(t *testing.T) {
	var d decoder
	empty := &dynamov1.Requests{Requests: []*dynamov1.Request{
		{Op: &dynamov1.Request_Delete{Delete: &dynamov1.DeleteRequest{}}},
		{Op: &dynamov1.Request_Get{Get: &dynamov1.GetRequest{}}},
		{Op: &dynamov1.Request_Put{Put: &dynamov1.PutRequest{}}},
		{},
	}}
	shifted := full()
	shifted.Requests = append(shifted.Requests[1:], shifted.Requests[0])
	for _, m := range []*dynamov1.Requests{full(), empty, {}, shifted, empty, full()} {
		got, err := d.decode(encoded(t, m))
		if err != nil || !proto.Equal(&dynamov1.Requests{Requests: got}, m) {
			t.Errorf("%v, %v; want %v", got, err, m)
		}
		d.clear()
	}
}

// TestDecodeRefuses: what is malformed, and what would cost more than it is
// worth.
func TestDecodeRefuses(t *testing.T) {
	message := encoded(t, full())
	var d decoder
	for n := range message[:len(message)-2] { // the last two bytes are a request of their own
		cut := message[:n]
		var m dynamov1.Requests
		_, err := d.decode(cut)
		d.clear()
		if (err == nil) != (m.UnmarshalVT(cut) == nil) {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
	wrong := protowire.AppendTag(nil, 1, protowire.VarintType)
	if _, err := d.decode(protowire.AppendVarint(wrong, 7)); err == nil {
		t.Error("a number is taken for a request")
	}
	d.clear()
	most := []byte(strings.Repeat("\x0a\x00", maxRequests))
	if got, err := d.decode(most); err != nil || len(got) != maxRequests {
		t.Errorf("%d requests, %v", len(got), err)
	}
	d.clear()
	if len(d.slots) != keepDecoded {
		t.Errorf("a decoder keeps the memory of %d requests", len(d.slots))
	}
	if _, err := d.decode(append(most, most...)); err == nil || len(d.slots) > maxRequests {
		t.Errorf("too many requests take the memory of %d: %v", len(d.slots), err)
	}
}

// TestRequestsOutliveTheirMessage: what is begun has nothing of the memory of its
// message, which is used again, and neither has what the log shows.
func TestRequestsOutliveTheirMessage(t *testing.T) {
	f := &fake{holds: true}
	s := newService(Options{Backend: f, Limits: testLimits, Logger: slog.New(slog.DiscardHandler)})
	session := &session{service: s, wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	seen := version.NewContext([]byte("k"), dotted("a").Clock)
	large := strings.Repeat("v", maxShared+1)
	one, refused := put(1, "value"), put(2, "value")
	one.GetPut().Context, one.GetPut().WriteId = seen.AppendBinary(nil), []byte("0123456789abcdef")
	refused.GetPut().Quorum = 99
	message := encoded(t, &dynamov1.Requests{Requests: []*dynamov1.Request{one, refused, get(3, "key"), put(4, large)}})
	var d decoder
	if err := session.beginAll(t.Context(), &d, message); err != nil {
		t.Fatal(err)
	}
	for i := range message {
		message[i] = 0xff
	}
	if len(f.asked) != 3 {
		t.Fatalf("%d requests were begun", len(f.asked))
	}
	q := f.asked[0]
	if string(q.Key) != "k" || string(q.Value) != "value" || q.Context.Compare(seen.Clock) != version.Equal || string(q.Options.WriteID[:]) != "0123456789abcdef" {
		t.Errorf("a put has become %+v", q)
	}
	if string(f.asked[1].Key) != "key" {
		t.Errorf("a get has become %+v", f.asked[1])
	}
	if string(f.asked[2].Key) != "k" || string(f.asked[2].Value) != large {
		t.Errorf("a large put has become %.100v", f.asked[2])
	}
	if turned := session.finished; len(turned) != 1 || string(turned[0].request.Key) != "k" {
		t.Errorf("%d are refused", len(turned))
	}
}

// FuzzDecode: what is decoded is what the generated code makes of it, and that
// is decoded.
func FuzzDecode(f *testing.F) {
	f.Fuzz(func(t *testing.T, message []byte) {
		var generated dynamov1.Requests
		known := generated.UnmarshalVT(message) == nil
		forget(&generated)
		var d decoder
		got, err := d.decode(message)
		if err == nil && (!known || !proto.Equal(&dynamov1.Requests{Requests: got}, &generated)) {
			t.Fatalf("%v; want %v", got, &generated)
		}
		d.clear()
		if !known || len(generated.Requests) > maxRequests {
			return
		}
		got, err = d.decode(encoded(t, &generated))
		if err != nil || !proto.Equal(&dynamov1.Requests{Requests: got}, &generated) {
			t.Fatalf("%v, %v; want %v", got, err, &generated)
		}
	})
}

// forget drops the fields that are not known.
func forget(m *dynamov1.Requests) {
	m.ProtoReflect().SetUnknown(nil)
	for _, r := range m.Requests {
		r.ProtoReflect().SetUnknown(nil)
		switch op := r.Op.(type) {
		case *dynamov1.Request_Get:
			op.Get.ProtoReflect().SetUnknown(nil)
		case *dynamov1.Request_Put:
			op.Put.ProtoReflect().SetUnknown(nil)
		case *dynamov1.Request_Delete:
			op.Delete.ProtoReflect().SetUnknown(nil)
		}
	}
}

func TestDecodeCorpus(t *testing.T) {
	seeds, err := os.ReadDir(filepath.Join("testdata", "fuzz", "FuzzDecode"))
	if err != nil || len(seeds) == 0 {
		t.Errorf("FuzzDecode has no corpus: %v", err)
	}
}
