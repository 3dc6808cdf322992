package lss_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// sealed returns a disk with a store of several sealed segments.
func sealed(t *testing.T) *vfs.Disk {
	t.Helper()
	disk := vfs.NewDisk()
	e := mustOpen(t, options(disk.FS(), true))
	for i := range 200 {
		mustCommit(t, e, set(fmt.Sprint(i), strings.Repeat("v", 1000)))
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return disk
}

// hints returns a disk's file system that calls a function before each look into
// a hint file.
func hints(disk *vfs.Disk, before func()) vfs.FS {
	return vfs.Watch(disk.FS(), func(op vfs.Op) error {
		if op.Kind == errorfs.OpOpen && strings.HasSuffix(op.Path, ".hint") {
			before()
		}
		return nil
	})
}

// TestOpenInParallel has no segment go on being read before another is as well.
func TestOpenInParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := sealed(t)
		var arrived atomic.Int64
		two := make(chan struct{})
		o := options(hints(disk, func() {
			if arrived.Add(1) == 2 {
				close(two)
			}
			<-two
		}), false)
		e := mustOpen(t, o)
		if n := e.Stats().Keys; n != 200 {
			t.Errorf("%d keys, want 200", n)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestOpenTellsProgress: an opening that takes longer than a second says how far
// it is, each second, and a shorter one says nothing.
func TestOpenTellsProgress(t *testing.T) {
	for _, test := range []struct {
		each time.Duration // of a look into a hint file
		told bool
	}{{time.Millisecond, false}, {1100 * time.Millisecond, true}} {
		synctest.Test(t, func(t *testing.T) {
			disk := sealed(t)
			var log bytes.Buffer
			o := options(hints(disk, func() { <-time.After(test.each) }), false)
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
			e := mustOpen(t, o)
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			told := regexp.MustCompile(`msg="opening the store" segments=[1-9]\d* of=[1-9]`).MatchString(log.String())
			if told != test.told {
				t.Errorf("with %v for each segment, it says: %s", test.each, &log)
			}
		})
	}
}
