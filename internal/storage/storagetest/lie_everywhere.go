package storagetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// LieEverywhere has the disk lie, from each sync of a script on: it says that
// something is durable and keeps it in a cache that the next power cut empties,
// in whole or in part. Nobody can promise then that what was acknowledged is
// there. What an engine still owes is that it opens or says why not, without a
// panic, and that it shows no value that its key was never given, whatever
// pieces of its files it finds.
func LieEverywhere(t *testing.T, open OpenOn) {
	t.Helper()
	var sum struct{ runs, whole, less, refused int }
	for from := int64(1); ; from++ {
		d := &liar{disk: vfs.NewDisk(), from: from}
		h := NewHistory()
		if err := d.life(t, open, h); err != nil {
			t.Fatalf("lies from sync %d on: %v", from, err)
		}
		if !d.lied() {
			break
		}
		for _, keep := range []int{0, 50, 90} {
			sum.runs++
			n, err := afterLies(open, d.disk.PowerCut(rand.New(rand.NewPCG(uint64(from), uint64(keep))), keep), h)
			switch {
			case err != nil:
				t.Errorf("lies from sync %d on, a power cut that keeps %d %%: %v", from, keep, err)
			case n < 0:
				sum.refused++
			case n == h.Committed():
				sum.whole++
			default:
				sum.less++
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d power cuts after lies: opened with all batches %d times, with less %d times, and refused %d times",
		sum.runs, sum.whole, sum.less, sum.refused)
	if sum.less+sum.refused == 0 {
		t.Error("nothing was ever lost: the lies did not matter")
	}
}

// liar is a disk that lies from one of its syncs on.
type liar struct {
	disk  *vfs.Disk
	from  int64
	syncs atomic.Int64
}

func (d *liar) lies() bool { return d.syncs.Add(1) >= d.from }

func (d *liar) lied() bool { return d.syncs.Load() >= d.from }

// life runs the script on the disk, and stops in order.
func (d *liar) life(t *testing.T, open OpenOn, h *History) error {
	e, _, err := open(vfs.SplitWrites(vfs.LieAboutSyncs(d.disk.FS(), d.lies)))
	if err != nil {
		return err
	}
	script(t, e, h, rand.New(rand.NewPCG(9, 10)))
	return e.Close()
}

// afterLies opens the engine, and returns which batch it shows as the last one,
// or -1 if it does not open.
func afterLies(open OpenOn, disk *vfs.Disk, h *History) (n int, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it panics: %v", p)
		}
	}()
	e, _, err := open(disk.FS())
	if err != nil {
		return -1, nil // to say that the disk cannot be used is one of the two right answers
	}
	n, err = h.checkGiven(e)
	if closeErr := e.Close(); err == nil && !errors.Is(closeErr, storage.ErrFailed) {
		err = closeErr
	}
	return n, err
}

// checkGiven checks that the engine shows nothing but values that their keys
// were given by some batch, or that it fails, and returns the last batch of
// which there is a trace.
func (h *History) checkGiven(e storage.Engine) (n int, err error) {
	given := h.given()
	found := make(map[string]string)
	if _, err := e.Scan(nil, nil, everything(), func(k, v []byte) bool {
		found[string(k)] = string(v)
		return true
	}); err != nil {
		return 0, allowed(err, storage.ErrFailed)
	}
	for key, value := range found {
		if !given[pair{key, value}] {
			return 0, fmt.Errorf("%q has the value %s, which it was never given", key, short(value))
		}
	}
	for p := range given {
		v, err := e.Get([]byte(p.key))
		want, shown := found[p.key]
		switch {
		case errors.Is(err, storage.ErrFailed):
			return 0, nil
		case errors.Is(err, core.ErrDamaged) && !shown, errors.Is(err, core.ErrNotFound) && !shown:
		case err != nil || !shown || string(v) != want:
			return 0, fmt.Errorf("%q reads %s, %w, and a scan shows %s, %v", p.key, short(string(v)), err, short(want), shown)
		}
	}
	_, err = fmt.Sscan(found["last"]+" 0", &n)
	return n, err
}

// given returns each value that a key ever had.
func (h *History) given() map[pair]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	given := make(map[pair]bool)
	for _, state := range h.states {
		for key, value := range state {
			given[pair{key, value}] = true
		}
	}
	return given
}

// allowed returns err unless it is one of those.
func allowed(err error, these ...error) error {
	for _, this := range these {
		if errors.Is(err, this) {
			return nil
		}
	}
	return err
}
