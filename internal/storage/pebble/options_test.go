package pebble

import (
	"bytes"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// TestLogger has pebble's fatal messages stop the disk, and its chatter stay
// below what a node logs by default.
func TestLogger(t *testing.T) {
	var out bytes.Buffer
	disk := vfs.NewFailStop(vfs.NewDisk().FS(), nil)
	l := logger{slog.New(slog.NewTextHandler(&out, nil)), disk}
	l.Infof("flushed %d", 1)
	if out.Len() != 0 {
		t.Errorf("an info message of pebble is logged: %s", &out)
	}
	l.Errorf("trouble %d", 2)
	if !strings.Contains(out.String(), "trouble 2") {
		t.Errorf("an error of pebble is logged as %q", &out)
	}
	if disk.Err() != nil {
		t.Errorf("the disk has stopped: %v", disk.Err())
	}
	l.Fatalf("manifest %d", 3)
	if err := disk.Err(); err == nil || err.Error() != "manifest 3" {
		t.Errorf("after a fatal message the disk has the failure %v", err)
	}
}

// While requests are slow one compaction runs at a time, whatever there is.
func TestThrottledCompactions(t *testing.T) {
	throttled := true
	o := Options{Throttled: func() bool { return throttled }}
	if lower, upper := o.compactions(); lower != 1 || upper != 1 {
		t.Errorf("%d to %d compactions while requests are slow; want 1", lower, upper)
	}
	throttled = false
	o2 := Options{}
	lower, upper := o.compactions()
	if l, u := o2.compactions(); l != lower || u != upper || lower != 1 || upper != max(1, min(maxCompactions, runtime.GOMAXPROCS(0)/2)) {
		t.Errorf("%d to %d compactions while requests are fast, %d to %d where nobody says", lower, upper, l, u)
	}
}
