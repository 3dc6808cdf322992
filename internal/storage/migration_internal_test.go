package storage

import (
	"errors"
	"os"
	"testing"

	"pgregory.net/rapid"
)

func TestMigrationRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := Migration{
			From: rapid.StringMatching(`[a-m]{1,10}`).Draw(rt, "from"),
			To:   rapid.StringMatching(`[n-z]{1,10}`).Draw(rt, "to"),
			Made: rapid.Bool().Draw(rt, "made"),
			Keep: rapid.Bool().Draw(rt, "keep"),
		}
		if got, err := decodeMigration(want.encode()); err != nil || got != want {
			rt.Fatalf("it reads %+v, %v; want %+v", got, err, want)
		}
	})
}

// TestMigrationFile pins down the file, which later versions must understand.
func TestMigrationFile(t *testing.T) {
	const want = `{
  "format": 1,
  "from": "lss",
  "to": "pebble",
  "made": true,
  "keep": false
}
`
	if got := string(Migration{From: "lss", To: "pebble", Made: true}.encode()); got != want {
		t.Errorf("written as %s, want %s", got, want)
	}
}

func TestMigrationRefused(t *testing.T) {
	for text, want := range map[string]error{
		`{"format": 2, "colour": "red"}`:                         ErrForeign,
		`{"format": 0, "from": "a", "to": "b"}`:                  ErrDamaged,
		`{"format": 1, "from": "a"}`:                             ErrDamaged,
		`{"format": 1, "to": "b"}`:                               ErrDamaged,
		`{"format": 1, "from": "a", "to": "a"}`:                  ErrDamaged,
		`{"format": 1, "from": "a", "to": "b", "colour": "red"}`: ErrDamaged,
		`{"format": 1, "from": "a", "to": "b", "made": 1}`:       ErrDamaged,
		`{"format": 1, "from": "a"`:                              ErrDamaged,
		``:                                                       ErrDamaged,
	} {
		if m, err := decodeMigration([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%s reads %+v, %v; want %v", text, m, err, want)
		}
	}
}

// FuzzMigration has any bytes refused or understood, and what was understood
// understood again when it is written.
func FuzzMigration(f *testing.F) {
	const corpus = "testdata/fuzz/FuzzMigration"
	if seeds, err := os.ReadDir(corpus); err != nil || len(seeds) == 0 {
		f.Fatalf("there are no seeds in %s: %v", corpus, err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMigration(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrForeign) {
				t.Errorf("refused with %v, want ErrDamaged or ErrForeign", err)
			}
			return
		}
		if again, err := decodeMigration(m.encode()); err != nil || again != m {
			t.Errorf("%+v reads %+v, %v when it was written", m, again, err)
		}
	})
}
