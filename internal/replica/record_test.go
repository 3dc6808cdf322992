package replica

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// What is on disks stays readable: these bytes never change, and a format that
// does gets another first byte.
func TestStoredRecordsAreGolden(t *testing.T) {
	epoch := version.Epoch{Start: 0x0102030405060708, Seq: 9}
	a := version.Actor{Node: "n1", Epoch: epoch}
	set, _ := version.Siblings{}.Put(version.Clock{}, a, version.Write{ID: version.WriteID{15: 7}, Timestamp: 1, Data: []byte("value")})
	for name, c := range map[string]struct {
		record record
		want   string
	}{
		"a set": {
			record{set: set},
			"01" + "00" + "00" + // format, encoding, flags
				"01" + "01" + "02" + "6e31" + "0807060504030201" + "09" + "01" + "00" + // the set: format, table
				"01" + "00" + "01" + "02" + "00000000000000000000000000000007" + "0100000000000000" + "05" + "76616c7565",
		},
		"its own actor": {
			record{epoch: epoch}, "01" + "00" + "01" + "0102030405060708" + "09" + "01" + "00" + "00" + "00",
		},
		"a hint": {
			record{owners: []core.HintOwner{{Node: "n2", Data: true}, {Node: "n3", Since: 5}}},
			"01" + "00" + "02" + "02" + "02" + "6e32" + "01" + "02" + "6e33" + "02" + "0000000000000005" + "01" + "00" + "00" + "00",
		},
	} {
		b, _ := c.record.encode()
		if got := hex.EncodeToString(b); got != c.want {
			t.Errorf("%s is stored as\n%s, want\n%s", name, got, c.want)
		}
		if c.record.size() != len(b) {
			t.Errorf("%s is stored in %d bytes, and has the size %d", name, len(b), c.record.size())
		}
		r, err := decodeRecord(b)
		if err != nil || r.epoch != c.record.epoch || !r.set.Equal(c.record.set) || len(r.owners) != len(c.record.owners) {
			t.Errorf("%s is read as %+v, %v", name, r, err)
		}
	}
}

// What a newer program has stored is never taken for something else.
func TestRecordsOfNewerPrograms(t *testing.T) {
	sound, _ := record{set: setOf("n1", "value")}.encode()
	for says, change := range map[string]func(b []byte){
		"format 2; this program reads format 1":     func(b []byte) { b[0] = 2 },
		"encoding 1; this program reads encoding 0": func(b []byte) { b[1] = 1 },
		"unknown flags 0x80":                        func(b []byte) { b[2] |= 0x80 },
	} {
		b := append([]byte{}, sound...)
		change(b)
		if _, err := decodeRecord(b); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q is not in the error %v", says, err)
		}
	}
}
