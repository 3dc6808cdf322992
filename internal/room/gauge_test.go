package room

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const (
	mib = 1 << 20
	gib = 1 << 30
	tib = 1 << 40
)

// TestMarksSuitEverySize has the default marks on storages from a small memory
// to a large disk.
func TestMarksSuitEverySize(t *testing.T) {
	for _, c := range []struct {
		name      string
		m         Measurement
		low, full uint64
	}{
		{"a memory of 64 MiB", Measurement{Total: 64 * mib}, 10066329, 3355443},
		{"a disk of 64 MiB, and an engine that would like more", Measurement{Total: 64 * mib, Need: 70 * mib}, 24 * mib, 16 * mib},
		{"a disk of 1 GiB", Measurement{Total: gib, Need: 70 * mib}, 161061273, 70 * mib},
		{"a disk of 100 GiB", Measurement{Total: 100 * gib, Need: 70 * mib}, 15 * gib, 2 * gib},
		{"a disk of 10 TiB", Measurement{Total: 10 * tib, Need: 70 * mib}, 20 * gib, 2 * gib},
		{"nothing at all", Measurement{}, 0, 0},
	} {
		g := NewGauge(DefaultMarks())
		g.Measure(c.m)
		if low, full := g.Marks(); low != c.low || full != c.full {
			t.Errorf("%s: marks %d and %d, want %d and %d", c.name, low, full, c.low, c.full)
		}
	}
}

// TestStateComesBackByItself walks the room down and up again.
func TestStateComesBackByItself(t *testing.T) {
	g := NewGauge(Marks{Low: Mark{Bytes: 200, Share: 0.5}, Full: Mark{Bytes: 100, Share: 0.5}})
	for i, step := range []struct {
		left  uint64
		state State
		spare uint64
	}{
		{1000, Plenty, 900},
		{201, Plenty, 101},
		{200, Low, 100},
		{250, Low, 150}, // a part above the mark is not enough
		{251, Plenty, 151},
		{100, Full, 0},
		{125, Full, 0}, // likewise
		{126, Low, 26},
		{99, Full, 0},
		{0, Full, 0},
		{251, Plenty, 151}, // room for all at once
	} {
		before := g.State()
		if changed := g.Measure(Measurement{Left: step.left, Total: 1000}); changed != (before != step.state) {
			t.Errorf("step %d: changed is %v, from %d to %d", i, changed, before, step.state)
		}
		if g.State() != step.state || g.Spare() != step.spare {
			t.Errorf("step %d: %d left: state %d with %d to spare, want %d with %d", i, step.left, g.State(), g.Spare(), step.state, step.spare)
		}
	}
}

// TestGaugeProperties holds what must be so of any storage and any marks.
func TestGaugeProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		full := Mark{rapid.Uint64Range(0, 4*gib).Draw(t, "full"), rapid.Float64Range(0, 0.4).Draw(t, "full share")}
		low := Mark{full.Bytes + rapid.Uint64Range(0, gib).Draw(t, "above"), min(0.9, full.Share*2)}
		g := NewGauge(Marks{Low: low, Full: full})
		total := rapid.Uint64Range(0, 100*tib).Draw(t, "total")
		need := rapid.Uint64Range(0, gib).Draw(t, "need")
		for range rapid.IntRange(1, 10).Draw(t, "steps") {
			m := Measurement{Left: rapid.Uint64Range(0, total).Draw(t, "left"), Total: total, Need: need}
			g.Measure(m)
			low, full := g.Marks()
			switch {
			case low < full:
				t.Fatalf("the low mark %d is below the full one %d", low, full)
			case m.Left <= full && g.State() != Full, m.Left <= low && g.State() == Plenty:
				t.Fatalf("state %d with %d left, marks %d and %d", g.State(), m.Left, low, full)
			case g.Spare() > m.Left-min(m.Left, full):
				t.Fatalf("%d to spare of %d, full at %d", g.Spare(), m.Left, full)
			}
			empty := Measurement{Left: total, Total: total, Need: need}
			again := *g
			again.Measure(empty)
			if full < total/2 && again.State() == Full {
				t.Fatalf("still full when all %d bytes are free, full at %d", total, full)
			}
		}
	})
}

func TestValidate(t *testing.T) {
	if err := DefaultMarks().Validate(); err != nil {
		t.Error(err)
	}
	for want, m := range map[string]Marks{
		"the share 1 of":      {Low: Mark{Share: 1}},
		"the share -0.1 of":   {Full: Mark{Share: -0.1}, Low: Mark{Share: 0.1}},
		"the share NaN of":    {Full: Mark{Share: math.NaN()}},
		"the low mark (1 byt": {Low: Mark{Bytes: 1}, Full: Mark{Bytes: 2}},
		"share 0.1) is below": {Low: Mark{Share: 0.1}, Full: Mark{Share: 0.2}},
	} {
		if err := m.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q in it", m, err, want)
		}
	}
}
