package ring

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/id"
)

// TestFormatIsForEver decodes a layout as version 1 wrote it. Such bytes are on
// disks: whatever later versions write, they must read these.
func TestFormatIsForEver(t *testing.T) {
	b, err := hex.DecodeString(strings.Join([]string{
		"01", "01", "02", // version, 2 partitions, N=2
		"01", "00", "0000000000000000", // number 1, no parent
		"03", "026e31" + "0172" + "01", "026e32" + "0173" + "01", "026e33" + "00" + "ac02",
		"0001", "0201", // the owners: n1 n2, n3 n2
		"913da46de1cbe447",
	}, ""))
	if err != nil {
		t.Fatal(err)
	}
	l, err := DecodeLayout(b)
	if err != nil {
		t.Fatal(err)
	}
	members := []Member{{"n1", "r", 1}, {"n2", "s", 1}, {"n3", "", 300}}
	if l.Name().String() != "1-913da46d" || !slices.Equal(l.Members(), members) {
		t.Errorf("decoded %s of %v; want 1-913da46d of %v", l.Name(), l.Members(), members)
	}
	if !slices.Equal(l.Owners(0), []id.Node{"n1", "n2"}) || !slices.Equal(l.Owners(1), []id.Node{"n3", "n2"}) {
		t.Errorf("decoded the owners %v and %v", l.Owners(0), l.Owners(1))
	}
	if !bytes.Equal(l.AppendBinary(nil), b) {
		t.Errorf("encoded again it is %x; want %x", l.AppendBinary(nil), b)
	}
}
