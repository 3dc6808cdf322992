package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/migrate"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

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
