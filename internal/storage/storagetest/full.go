package storagetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

// Full runs the suite of an engine that may take so many bytes of memory: at
// least a few kilobytes.
func Full(t *testing.T, limit int64, open Open) {
	for name, test := range map[string]func(*testing.T, int64, storage.Engine){
		"RefusesWhole": testRefusesWhole,
		"TakesNoMore":  testTakesNoMore,
		"GoesOn":       testGoesOn,
	} {
		t.Run(name, func(t *testing.T) {
			e := open(t)
			t.Cleanup(func() { mustClose(t, e) })
			test(t, limit, e)
		})
	}
}

// try commits a batch and returns what it completes with.
func try(e storage.Engine, batch ...core.Write) error {
	done := make(chan error, 1)
	e.Commit(batch, core.Sync, func(err error) { done <- err })
	return <-done
}

// fillUp writes pairs until one is refused, and returns how many were taken.
func fillUp(t *testing.T, limit int64, e storage.Engine) (taken int) {
	t.Helper()
	value := strings.Repeat("v", int(limit/50))
	for ; taken <= 50; taken++ {
		err := try(e, set(fmt.Sprintf("key %02d", taken), value))
		if errors.Is(err, storage.ErrFull) {
			return taken
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("%d values of a fiftieth of the limit are taken", taken)
	return 0
}

func testRefusesWhole(t *testing.T, limit int64, e storage.Engine) {
	large := strings.Repeat("v", int(limit))
	err := try(e, set("small", "1"), core.Write{Key: []byte("absent"), Delete: true}, set("large", large), set("small", "2"))
	if !errors.Is(err, storage.ErrFull) || errors.Is(err, storage.ErrFailed) || !strings.Contains(err.Error(), fmt.Sprint(limit)) {
		t.Errorf("a batch larger than the limit of %d ends with %v", limit, err)
	}
	if found := all(t, e); len(found) != 0 {
		t.Errorf("a part of it is there: %d keys", len(found))
	}
	if s := e.Stats(); s.MemoryBytes != 0 || s.Commits != 0 {
		t.Errorf("what was refused is counted: %+v", s)
	}
}

func testTakesNoMore(t *testing.T, limit int64, e storage.Engine) {
	n := fillUp(t, limit, e)
	if n < 25 {
		t.Errorf("only %d values of a fiftieth of the limit are taken", n)
	}
	if got := e.Stats().MemoryBytes; got > limit {
		t.Errorf("it takes %d bytes, and may take %d", got, limit)
	}
	if found := all(t, e); len(found) != n {
		t.Errorf("%d keys are there of %d that were taken", len(found), n)
	}
}

func testGoesOn(t *testing.T, limit int64, e storage.Engine) {
	n := fillUp(t, limit, e)
	value, _ := get(t, e, "key 00")
	for name, w := range map[string]core.Write{
		"a value of the same size": set("key 00", strings.Repeat("w", len(value))),
		"a smaller value":          set("key 01", "less"),
		"a removal":                {Key: []byte("key 02"), Delete: true},
		"a removal of nothing":     {Key: []byte("absent"), Delete: true},
	} {
		if err := try(e, w); err != nil {
			t.Errorf("%s is refused: %v", name, err)
		}
	}
	if err := try(e); err != nil {
		t.Errorf("an empty batch is refused: %v", err)
	}
	if err := try(e, set("another", value)); err != nil {
		t.Errorf("a value in the place of a removed one is refused: %v", err)
	}
	if found := all(t, e); len(found) != n {
		t.Errorf("%d keys are there, want %d", len(found), n)
	}
}
