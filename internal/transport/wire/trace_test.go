package wire

import (
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// What cannot be a place in a trace is none, and no reason to refuse a request.
func TestTraceThatIsNone(t *testing.T) {
	sound := appendTrace(nil, &core.Trace{ID: [16]byte{15: 1}, Span: core.SpanID{7: 1}})
	if got := decodeTrace(sound); got == nil || got.ID[15] != 1 || got.Span[7] != 1 {
		t.Fatalf("%x is decoded as %+v", sound, got)
	}
	for name, b := range map[string][]byte{
		"nothing":       nil,
		"a byte less":   sound[1:],
		"a byte more":   append([]byte{0}, sound...),
		"no trace":      append(make([]byte, 16), sound[16:]...),
		"no span":       append(append([]byte{}, sound[:16]...), make([]byte, 8)...),
		"zeros":         make([]byte, traceBytes),
		"much too long": make([]byte, 1<<10),
	} {
		if got := decodeTrace(b); got != nil {
			t.Errorf("%s is decoded as %+v", name, got)
		}
	}
	if got := appendTrace(make([]byte, 0, 8), nil); got != nil {
		t.Errorf("no place is encoded as %x", got)
	}
}
