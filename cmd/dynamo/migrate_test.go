package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/migrate"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

// told plays a migration of 4 GiB in 4000 keys, a second for each GiB, to a
// progress.
func told(bar bool) string {
	var out strings.Builder
	now := time.Unix(1000, 0)
	p := newMigrationProgress(&out)
	p.bar, p.now = bar, func() time.Time { return now }
	for _, phase := range []migrate.Phase{migrate.Counting, migrate.Copying} {
		for i := range uint64(41) {
			q := migrate.Progress{Phase: phase, Keys: 100 * i, Bytes: i << 30 / 10}
			if phase != migrate.Counting {
				q.TotalKeys, q.TotalBytes = 4000, 4<<30
			}
			p.tell(q)
			now = now.Add(300 * time.Millisecond)
		}
	}
	p.end()
	return out.String()
}

// TestMigrationLines: where there is no terminal, a line now and then, and one at
// the end of a phase.
func TestMigrationLines(t *testing.T) {
	const want = `counting: 1.7 GiB, 1700 keys, 341.3 MiB/s
counting: 3.4 GiB, 3400 keys, 341.3 MiB/s
copying: 42 %, 1.7 GiB of 4.0 GiB, 1700 of 4000 keys, 341.3 MiB/s, 7s left
copying: 85 %, 3.4 GiB of 4.0 GiB, 3400 of 4000 keys, 341.3 MiB/s, 2s left
copying: 100 %, 4.0 GiB of 4.0 GiB, 4000 of 4000 keys, 341.3 MiB/s, 0s left
`
	if got := told(false); got != want {
		t.Errorf("it says\n%s\nwant\n%s", got, want)
	}
}

// TestMigrationBar: on a terminal, one line for each phase, drawn over itself.
func TestMigrationBar(t *testing.T) {
	lines := strings.Split(told(true), "\n")
	if len(lines) != 3 || lines[2] != "" {
		t.Fatalf("%d lines, want one for each of 2 phases", len(lines)-1)
	}
	for i, want := range []string{
		"counting: 4.0 GiB, 4000 keys, 341.3 MiB/s",
		"[########################] copying: 100 %, 4.0 GiB of 4.0 GiB, 4000 of 4000 keys, 341.3 MiB/s, 0s left",
	} {
		drawn := strings.Split(lines[i], "\r")
		if len(drawn) != 41 || drawn[40] != want+"\x1b[K" {
			t.Errorf("drawn %d times, at last %q, want 40 times and %q", len(drawn)-1, drawn[len(drawn)-1], want)
		}
	}
	if half := "[############............] copying: 50 %, 2.0 GiB of 4.0 GiB"; !strings.Contains(lines[1], half) {
		t.Errorf("%q does not have %q", lines[1], half)
	}
}

// TestMigrationErrors: what each error makes of the exit code.
func TestMigrationErrors(t *testing.T) {
	for _, test := range []struct {
		err  error
		code int
		hint string
	}{
		{migrate.ErrInvalid, exitUsage, ""},
		{migrate.ErrOther, exitNotDone, ""},
		{migrate.ErrNoRoom, exitNotDone, ""},
		{migrate.ErrDiffers, exitNotDone, ""},
		{storage.ErrDamaged, exitNotDone, ""},
		{storage.ErrInUse, exitNotDone, "a node that is stopped"},
		{context.Canceled, exitNotDone, "Run the same again"},
	} {
		e, ok := errors.AsType[*exitError](migrationError(fmt.Errorf("d: %w", test.err)))
		if !ok || e.code != test.code || !strings.Contains(e.hint, test.hint) || (test.hint == "") != (e.hint == "") {
			t.Errorf("%v: %+v, want code %d with the hint %q", test.err, e, test.code, test.hint)
		}
	}
}

// TestMigrationReport: the end of one whose process was killed between its switch
// and its end.
func TestMigrationReport(t *testing.T) {
	r := migrate.Result{Identity: storage.Identity{Engine: "pebble", Node: "n1"}}
	if got := migrationReport(r); !strings.Contains(got, "had moved to pebble before an interruption") || !strings.Contains(got, "--engine pebble") {
		t.Errorf("it says %q", got)
	}
}
