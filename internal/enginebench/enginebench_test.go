package enginebench

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every engine runs every load, and what it has kept is opened again.
func TestEveryEngineIsMeasured(t *testing.T) {
	var reports []Report
	for _, engine := range Names() {
		o := Options{Engine: engine, Dir: t.TempDir(), Keys: 500, ValueBytes: 100, Length: 20 * time.Millisecond}
		var stages []string
		r, closer, err := Measure(t.Context(), o, func(stage string) { stages = append(stages, stage) })
		if err != nil {
			t.Fatalf("%s: %v", engine, err)
		}
		if err := closer(); err != nil {
			t.Fatalf("%s: closing: %v", engine, err)
		}
		if len(r.Loads) != len(loads()) || len(stages) != len(loads())+1 {
			t.Errorf("%s: %d loads in %q; want %d", engine, len(r.Loads), stages, len(loads()))
		}
		for _, f := range r.Loads {
			if f.Operations == 0 || f.Rate <= 0 || f.P99 < f.P50 {
				t.Errorf("%s, %s: %+v", engine, f.Name, f)
			}
		}
		if Durable(engine) {
			if r.DiskBytes < int64(o.Keys)*int64(o.ValueBytes) {
				t.Errorf("%s has %d bytes on disk; its values alone are more", engine, r.DiskBytes)
			}
			opened, err := Reopen(o)
			if err != nil || opened.Milliseconds <= 0 {
				t.Errorf("%s: opening again: %+v, %v", engine, opened, err)
			}
			r.Open = &opened
		}
		reports = append(reports, r)
	}
	lines := strings.Split(Table(reports), "\n")
	if got := strings.Fields(strings.TrimPrefix(lines[2], "operations a second")); !slices.Equal(got, Names()) {
		t.Errorf("the columns are %q; want %q", got, Names())
	}
	rows := 0
	for _, line := range lines {
		label, isRow := strings.CutPrefix(line, "  ")
		if !isRow {
			continue
		}
		rows++
		if got := len(strings.Fields(label)); got < len(Names())+2 {
			t.Errorf("%q has %d fields; want a label and one for each engine", line, got)
		}
	}
	if want := 3*len(loads()) + 6; rows != want {
		t.Errorf("%d rows; want %d", rows, want)
	}
}

// A store that lacks what was durable is told of.
func TestReopenMissesKeys(t *testing.T) {
	o := Options{Engine: "lss", Dir: t.TempDir(), Keys: 200, ValueBytes: 10, Length: time.Millisecond}
	_, closer, err := Measure(t.Context(), o, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := closer(); err != nil {
		t.Fatal(err)
	}
	o.Keys = 10_000
	if _, err := Reopen(o); err == nil {
		t.Error("9,800 keys are missing, and nobody says so")
	}
}

func TestMeasureEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := Options{Engine: "memory", Keys: 1000, ValueBytes: 10, Length: time.Hour}
	if _, _, err := Measure(ctx, o, func(string) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v; want that of the context", err)
	}
}

func TestMeasureSaysWhatItCannotOpen(t *testing.T) {
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{Engine: "rocks", Dir: t.TempDir(), Keys: 1}, {Engine: "lss", Dir: file, Keys: 1}} {
		if _, _, err := Measure(t.Context(), o, func(string) {}); err == nil {
			t.Errorf("%+v is measured", o)
		}
		if _, err := Reopen(o); err == nil {
			t.Errorf("%+v is opened", o)
		}
	}
	if Table(nil) != "" {
		t.Error("a table of nothing has text")
	}
}
