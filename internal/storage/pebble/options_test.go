package pebble

import (
	"bytes"
	"log/slog"
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
