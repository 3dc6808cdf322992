package wire

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

func TestRoundTripChangesNothing(t *testing.T) {
	var c Encoder // one for all, so that nothing of one batch shows in the next
	rapid.Check(t, func(t *rapid.T) {
		now := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "sender's now"))
		later := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "receiver's now"))
		batch := genBatch(t, now)
		b := c.Encode(now, batch, alloc)
		size := headerBytes
		for i := range batch {
			size += Size(&batch[i])
		}
		if len(b) > size {
			t.Fatalf("%d bytes, and Size says that it is at most %d", len(b), size)
		}
		got, r, err := decode(later, b)
		if err != nil || r != (Result{Delivered: len(batch)}) {
			t.Fatalf("decoded %+v of %d envelopes: %v", r, len(batch), err)
		}
		for i := range batch {
			batch[i].Deadline += later - now
		}
		if d := diff(batch, got); d != "" {
			t.Fatalf("sent -, received +:\n%s", d)
		}
		if again := c.Encode(later, got, alloc); string(again) != string(b) {
			t.Fatal("what was received is encoded in another way")
		}
	})
}

// A field that is added to a message and forgotten here would be lost on the
// wire: every sample has every field, and every field arrives.
func TestEveryFieldTravels(t *testing.T) {
	for _, m := range samples(t) {
		e := sampleEnvelope(t, m)
		requireNoZero(t, reflect.ValueOf(e), "Envelope", "Envelope.Addr", "Envelope.Reply",
			"Envelope.Msg.Options.Repair", // of reads, which nobody forwards
			"Envelope.Msg.Result.Hint")    // which a node shows of itself alone
		got, _, err := decode(0, encode(0, e))
		if err != nil {
			t.Errorf("%T: %v", m, err)
			continue
		}
		if d := diff([]core.Envelope{e}, got); d != "" {
			t.Errorf("%T: sent -, received +:\n%s", m, d)
		}
	}
}

// requireNoZero fails for zero fields at any depth, but for those of types
// with an encoding of their own.
func requireNoZero(t *testing.T, v reflect.Value, path string, except ...string) {
	t.Helper()
	if slices.Contains(except, path) {
		return
	}
	switch v.Interface().(type) {
	case version.Siblings, version.Clock, *ring.Layout, *core.Applied, *core.Hinted:
		return
	}
	if v.IsZero() {
		t.Errorf("%s is zero in its sample", path)
		return
	}
	if v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer {
		requireNoZero(t, v.Elem(), path, except...)
	}
	if v.Kind() == reflect.Struct {
		for i := range v.NumField() {
			requireNoZero(t, v.Field(i), path+"."+v.Type().Field(i).Name, except...)
		}
	}
	if v.Kind() == reflect.Slice && v.Index(0).Kind() == reflect.Struct {
		requireNoZero(t, v.Index(0), path+"[0]", except...)
	}
}

// The numbers on the wire are for ever; those of core may change.
func TestEnumsAgreeWithCore(t *testing.T) {
	pairs := map[fmt.Stringer]int{
		dynamov1.Phase_PHASE_UNSPECIFIED:      int(core.PhaseNone),
		dynamov1.Phase_PHASE_COPY:             int(core.PhaseCopy),
		dynamov1.Phase_PHASE_MOVED:            int(core.PhaseMoved),
		dynamov1.Phase_PHASE_DONE:             int(core.PhaseDone),
		dynamov1.State_STATE_JOINING:          int(core.Joining),
		dynamov1.State_STATE_ACTIVE:           int(core.Active),
		dynamov1.State_STATE_LEAVING:          int(core.Leaving),
		dynamov1.State_STATE_LEFT:             int(core.Left),
		dynamov1.Op_OP_GET:                    int(core.OpGet),
		dynamov1.Op_OP_PUT:                    int(core.OpPut),
		dynamov1.Op_OP_DELETE:                 int(core.OpDelete),
		dynamov1.Quorum_QUORUM_UNSPECIFIED:    int(core.QuorumDefault),
		dynamov1.Quorum_QUORUM_SLOPPY:         int(core.QuorumSloppy),
		dynamov1.Quorum_QUORUM_STRICT:         int(core.QuorumStrict),
		dynamov1.Code_CODE_OK:                 int(core.CodeOK),
		dynamov1.Code_CODE_NOT_FOUND:          int(core.CodeNotFound),
		dynamov1.Code_CODE_QUORUM:             int(core.CodeQuorum),
		dynamov1.Code_CODE_TIMEOUT:            int(core.CodeTimeout),
		dynamov1.Code_CODE_OVERLOADED:         int(core.CodeOverloaded),
		dynamov1.Code_CODE_TOO_MANY_SIBLINGS:  int(core.CodeTooManySiblings),
		dynamov1.Code_CODE_SET_TOO_LARGE:      int(core.CodeSetTooLarge),
		dynamov1.Code_CODE_CLOCK_TOO_LONG:     int(core.CodeClockTooLong),
		dynamov1.Code_CODE_NOT_READY:          int(core.CodeNotReady),
		dynamov1.Code_CODE_STOPPED:            int(core.CodeStopped),
		dynamov1.Code_CODE_REFUSED:            int(core.CodeRefused),
		dynamov1.Code_CODE_STORAGE_FULL:       int(core.CodeStorageFull),
		dynamov1.Outcome_OUTCOME_NOT_WRITTEN:  int(core.NotWritten),
		dynamov1.Outcome_OUTCOME_WRITTEN:      int(core.Written),
		dynamov1.Outcome_OUTCOME_UNKNOWN:      int(core.Unknown),
		dynamov1.Refusal_REFUSAL_STALE:        int(core.RefusedStale),
		dynamov1.Refusal_REFUSAL_BEHIND:       int(core.RefusedBehind),
		dynamov1.Refusal_REFUSAL_START:        int(core.RefusedStart),
		dynamov1.Refusal_REFUSAL_EXPIRED:      int(core.RefusedExpired),
		dynamov1.Refusal_REFUSAL_OVERLOADED:   int(core.RefusedOverloaded),
		dynamov1.Refusal_REFUSAL_INVALID:      int(core.RefusedInvalid),
		dynamov1.Refusal_REFUSAL_NOT_OWNER:    int(core.RefusedNotOwner),
		dynamov1.Refusal_REFUSAL_HINTS_FULL:   int(core.RefusedHintsFull),
		dynamov1.Refusal_REFUSAL_STORAGE_FULL: int(core.RefusedStorageFull),
	}
	for wire, want := range pairs {
		if got := int(reflect.ValueOf(wire).Int()); got != want {
			t.Errorf("%s is %d on the wire and %d in core", wire, got, want)
		}
	}
}

func TestHello(t *testing.T) {
	got, err := DecodeHello(EncodeHello("n1"))
	if got != "n1" || err != nil {
		t.Errorf("the hello of n1 is that of %q: %v", got, err)
	}
	if _, err := DecodeHello(nil); err == nil {
		t.Error("a hello without a name is accepted")
	}
}

func TestDeadlines(t *testing.T) {
	for _, c := range []struct {
		name      string
		remaining time.Duration
		want      time.Duration // that remain at the receiver
	}{
		{"the shortest", 1, 1},
		{"M", id.MaxMessageAge, id.MaxMessageAge},
		{"longer than M is cut to it", id.MaxMessageAge + 1, id.MaxMessageAge},
		{"never", core.Never - time.Hour, id.MaxMessageAge},
	} {
		e := sampleEnvelope(t, &core.Applied{})
		e.Deadline = time.Hour + c.remaining
		got, _, err := decode(time.Minute, encode(time.Hour, e))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if left := got[0].Deadline - time.Minute; left != c.want {
			t.Errorf("%s: %v remain, want %v", c.name, left, c.want)
		}
	}
}

// The messages of every put and get are encoded without an allocation.
func TestEncodeAllocatesNothing(t *testing.T) {
	var batch []core.Envelope
	for _, m := range samples(t)[:4] {
		batch = append(batch, sampleEnvelope(t, m))
	}
	var c Encoder
	buf := make([]byte, 4096)
	into := func(size int) []byte { return buf[:size] }
	if n := testing.AllocsPerRun(100, func() { c.Encode(0, batch, into) }); n > 0 {
		t.Errorf("%v allocations for a batch", n)
	}
}

// What Decode hands over must not change with the buffer that it came in.
func TestDecodeKeepsNothing(t *testing.T) {
	for _, m := range samples(t) {
		e := sampleEnvelope(t, m)
		b := encode(0, e)
		got, _, err := decode(0, b)
		if err != nil {
			t.Fatalf("%T: %v", m, err)
		}
		clear(b)
		if d := diff([]core.Envelope{e}, got); d != "" {
			t.Errorf("%T changed with its buffer:\n%s", m, d)
		}
	}
}
