package wire

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

func encodeJSON(tb testing.TB, now time.Duration, batch ...core.Envelope) []byte {
	tb.Helper()
	var c Encoder
	b, err := c.EncodeJSON(now, batch)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func decodeJSON(now time.Duration, b []byte) ([]core.Envelope, Result, error) {
	var out []core.Envelope
	var d Decoder
	r, err := d.DecodeJSON(now, b, func(e *core.Envelope) { out = append(out, *e) })
	return out, r, err
}

func TestJSONRoundTripChangesNothing(t *testing.T) {
	var c Encoder
	rapid.Check(t, func(t *rapid.T) {
		now := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "sender's now"))
		later := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "receiver's now"))
		batch := genBatch(t, now)
		b, err := c.EncodeJSON(now, batch)
		if err != nil {
			t.Fatal(err)
		}
		got, r, err := decodeJSON(later, b)
		if err != nil || r != (Result{Delivered: len(batch)}) {
			t.Fatalf("decoded %+v of %d envelopes: %v", r, len(batch), err)
		}
		for i := range batch {
			batch[i].Deadline += later - now
		}
		if d := diff(batch, got); d != "" {
			t.Fatalf("sent -, received +:\n%s", d)
		}
	})
}

// Every kind of message travels as JSON with every field, and in the same
// bytes as without it.
func TestJSONSaysTheSame(t *testing.T) {
	for _, m := range samples(t) {
		e := sampleEnvelope(t, m)
		plain, err := fromJSON(encodeJSON(t, 0, e))
		if err != nil {
			t.Errorf("%T: %v", m, err)
			continue
		}
		if want := encode(0, e); string(plain) != string(want) {
			t.Errorf("%T: the JSON says %x, the bytes %x", m, plain, want)
		}
	}
}

func TestJSONOfNewerNodes(t *testing.T) {
	for name, b := range map[string]string{
		"a message":    `{"from":"n1","envelopes":[{"remaining":"5","telepathy":{"thought":[1,{}]}},{"remaining":5,"applied":{}}]}`,
		"an enum":      `{"from":"n1","mood":3,"envelopes":[{"remaining":"5","refused":{"why":99}},{"remaining":5,"applied":{}}]}`,
		"a new phase":  `{"from":"n1","envelopes":[{"remaining":"5","phase":99,"applied":{}},{"remaining":5,"applied":{}}]}`,
		"a new option": `{"from":"n1","envelopes":[{"remaining":"5"},{"remaining":5,"applied":{"gladly":true}}]}`,
	} {
		got, r, err := decodeJSON(0, []byte(b))
		if want := (Result{Delivered: 1, Unknown: 1}); err != nil || r != want || len(got) != 1 {
			t.Errorf("%s that is not known: %+v, %v; want %+v", name, r, err, want)
		}
	}
}

func TestMalformedJSON(t *testing.T) {
	deep := strings.Repeat(`{"x":`, 200) + "1" + strings.Repeat("}", 200)
	for name, c := range map[string]struct{ body, want string }{
		"nothing":          {"", "unexpected token"},
		"text":             {"GET / HTTP/1.1", "syntax error"},
		"a list":           {"[]", "unexpected token"},
		"no sender":        {"{}", "sender"},
		"a wrong type":     {`{"from":7}`, "invalid value"},
		"bad base64":       {`{"from":"n1","envelopes":[{"remaining":5,"read":{"key":"?"}}]}`, "invalid value"},
		"expired":          {`{"from":"n1","envelopes":[{"remaining":0,"applied":{}}]}`, "0 ns remain"},
		"half a character": {`{"from":"\ud800"}`, "unexpected EOF"},
		"twice":            {`{"from":"n1","from":"n2"}`, "duplicate field"},
		"two messages":     {`{"from":"n1","envelopes":[{"remaining":5,"applied":{},"hinted":{}}]}`, "oneof"},
		"deep":             {deep, "depth"},
		"more than one":    {`{"from":"n1"}{}`, "unexpected token"},
		"objects":          {`{"envelopes":[` + strings.Repeat("{}", maxJSONObjects) + "]}", "objects and lists"},
		"values":           {`{"x":[` + strings.Repeat(",", maxJSONValues+1) + "]}", "values; at most"},
		"bytes":            {strings.Repeat(" ", MaxJSONBytes+1), "bytes; at most"},
		"envelopes":        {`{"from":"n1","envelopes":[{}` + strings.Repeat(",{}", MaxBatchEnvelopes) + "]}", "more than 1024 envelopes"},
	} {
		got, _, err := decodeJSON(0, []byte(c.body))
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) || len(got) > 0 {
			t.Errorf("%s: %d envelopes and the error %v, which does not say %q", name, len(got), err, c.want)
		}
	}
}

// What is wrong with a text is said in a few words, however long its sender has made it.
func TestErrorsOfJSONAreShort(t *testing.T) {
	long := strings.Repeat("\x7f", 8<<10)
	for _, body := range []string{
		`{"from":"` + long + `"}`, `{"cluster":"` + long + `"}`, `{"from":` + long, long,
		`{"from":"n1","envelopes":[{"remaining":"` + long + `"}]}`, `{"from":"n1","envelopes":[{"read":{"key":"` + long + `"}}]}`,
		`{"from":"n1","envelopes":[{"remaining":` + strings.Repeat("1", 8<<10) + `}]}`,
	} {
		_, _, err := decodeJSON(0, []byte(body))
		if err == nil || len(err.Error()) > 2*maxErrorBytes {
			t.Errorf("%.80s is refused with %d bytes: %.300v", body, len(fmt.Sprint(err)), err)
		}
	}
}

func TestExcerpt(t *testing.T) {
	for text, want := range map[string]string{"": "", "cart": "cart", "carts": "cart… (5 bytes)", "caré": "car… (5 bytes)"} {
		if got := Excerpt(text, 4); got != want {
			t.Errorf("%q is shown as %q; want %q", text, got, want)
		}
	}
}

// A text that JSON cannot carry is an error, and the encoder goes on.
func TestTextThatJSONCannotCarry(t *testing.T) {
	e := sampleEnvelope(t, &core.Gossip{State: core.GossipState{Members: []core.Member{{ID: "n1", Addr: "\xff"}}}})
	var c Encoder
	if _, err := c.EncodeJSON(0, []core.Envelope{e}); err == nil {
		t.Error("an address that is not UTF-8 is written as JSON")
	}
	ok := sampleEnvelope(t, &core.Applied{})
	b, err := c.EncodeJSON(0, []core.Envelope{ok})
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := decodeJSON(0, b); err != nil || len(got) != 1 {
		t.Errorf("the next batch has %d envelopes: %v", len(got), err)
	}
}

// The largest batches and sets that there are fit into the limits.
func TestJSONLimitsHoldTheLargest(t *testing.T) {
	layouts := liveLayouts(t, 2, 40)
	members := make([]core.Member, id.MaxMembers)
	for i := range members {
		members[i] = core.Member{
			ID: id.Node(fmt.Sprintf("n%0*d", id.MaxNodeBytes-1, i)), Addr: "[::1]:7171", Zone: strings.Repeat("{", 32), Weight: 1,
			State: core.Active, Incarnation: 1 << 60, Heartbeat: 1 << 60, Changed: 1 << 60, Instance: 1 << 60, Start: 1 << 60,
		}
	}
	state := core.GossipState{Cluster: 1, Members: members}
	state.Layouts.Live, state.Layouts.Phase = layouts, core.PhaseCopy
	for range id.MaxMembers {
		state.Digest.Versions = append(state.Digest.Versions, core.RecordVersion{Member: 1 << 60, Incarnation: 1 << 60})
		state.Wants = append(state.Wants, 1<<60)
	}
	batch := make([]core.Envelope, MaxBatchEnvelopes)
	for i := range batch {
		batch[i] = sampleEnvelope(t, &core.BucketAsk{Leaves: []uint32{1, 2, 3, 4}, After: []byte("key")})
	}
	for name, b := range map[string][]byte{
		"gossip":    encodeJSON(t, 0, sampleEnvelope(t, &core.Gossip{State: state})),
		"envelopes": encodeJSON(t, 0, batch...),
	} {
		if _, _, err := decodeJSON(0, b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if MaxJSONBytes < (id.MaxMessageBytes+2)/3*4+64<<10 {
		t.Errorf("%d bytes of JSON do not hold a message of %d in base64", MaxJSONBytes, id.MaxMessageBytes)
	}
}

func FuzzDecodeJSON(f *testing.F) {
	if seeds, err := os.ReadDir(filepath.Join("testdata", "fuzz", f.Name())); err != nil || len(seeds) == 0 {
		f.Fatalf("no committed corpus: %v", err)
	}
	for _, m := range samples(f) {
		f.Add(encodeJSON(f, 0, sampleEnvelope(f, m)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		const now = time.Hour
		got, _, err := decodeJSON(now, b)
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Fatalf("the error does not wrap ErrInvalid: %v", err)
		}
		for i := range got {
			requireValid(t, &got[i], now)
		}
		if len(got) == 0 {
			return
		}
		again, _, err := decodeJSON(now, encodeJSON(t, now, got...))
		if err != nil {
			t.Fatalf("what was decoded is refused once encoded again: %v", err)
		}
		if d := diff(got, again); d != "" {
			t.Fatalf("decoded -, encoded and decoded again +:\n%s", d)
		}
	})
}
