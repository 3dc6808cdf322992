package storagetest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// ReadFailEverywhere has a disk that holds a store refuse each of the reads that
// a start and a look at every key take, one in each run, once or from then on.
// The engine does not open and says so, or every answer is the right one or an
// error: the engine's failure, or core.ErrDamaged. A scan passes over what is
// damaged and nothing else. When the disk works again, nothing is missing but
// what was found damaged.
func ReadFailEverywhere(t *testing.T, open OpenOn) {
	t.Helper()
	disk, h := vfs.NewDisk(), NewHistory()
	e, _, err := open(disk.FS())
	if err != nil {
		t.Fatal(err)
	}
	script(t, e, h, rand.New(rand.NewPCG(11, 12)))
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	var sum struct{ runs, refused, failed, damaged int }
	for at := 1; ; at++ {
		d := &unreadable{disk: disk.PowerCut(rand.New(rand.NewPCG(13, 14)), 100), at: at, broken: at%2 == 0}
		opened, damaged, err := d.life(open, h)
		if err == nil {
			err = d.afterwards(open, h, damaged)
		}
		if err != nil {
			t.Fatalf("%v: %v", d, err)
		}
		if !d.reached() {
			break
		}
		sum.runs++
		switch {
		case !opened:
			sum.refused++
		case d.failed:
			sum.failed++
		case len(damaged) > 0:
			sum.damaged++
		}
	}
	t.Logf("%d failing reads: did not open %d times, failed %d times, told of damage %d times", sum.runs, sum.refused, sum.failed, sum.damaged)
	if sum.refused == 0 || sum.failed+sum.damaged == 0 {
		t.Error("no start or no answer met a failing read")
	}
}

// unreadable is a disk of which one read fails, and with broken every one
// after it as well; none at 0.
type unreadable struct {
	disk   *vfs.Disk
	at     int
	broken bool
	failed bool // the engine has

	mu    sync.Mutex // guards what follows
	count int
	op    vfs.Op // the one that failed
}

func (d *unreadable) before(op vfs.Op) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !vfs.Reads(op) {
		return nil
	}
	d.count++
	if d.at == 0 || d.count != d.at && (!d.broken || d.count < d.at) {
		return nil
	}
	if d.count == d.at {
		d.op = op
	}
	return vfs.ErrInjected
}

func (d *unreadable) reached() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count >= d.at
}

func (d *unreadable) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return fmt.Sprintf("failure of read %d, %v of %s, broken from then on: %v", d.at, d.op.Kind, d.op.Path, d.broken)
}

// life starts the engine, looks at everything that there is, and stops.
func (d *unreadable) life(open OpenOn, h *History) (opened bool, damaged map[string]bool, err error) {
	e, _, err := open(vfs.Watch(d.disk.FS(), d.before))
	if err != nil {
		if !d.reached() || d.at == 0 {
			return false, nil, fmt.Errorf("open, and no read had failed: %w", err)
		}
		return false, nil, nil
	}
	damaged, err = d.look(e, h.states[h.Committed()])
	closeErr := e.Close()
	switch {
	case err != nil:
	case errors.Is(closeErr, storage.ErrFailed):
		d.failed = true
		if d.at == 0 || !d.reached() {
			err = closeErr
		}
	default:
		err = closeErr
	}
	return true, damaged, err
}

// afterwards starts the engine when the disk works again. What was told to be
// damaged is, unless the engine had failed before it could note that; and one
// read that fails costs one record at most, if perhaps in the background.
func (d *unreadable) afterwards(open OpenOn, h *History, before map[string]bool) error {
	works := &unreadable{disk: d.disk}
	_, damaged, err := works.life(open, h)
	if works.failed {
		err = errors.Join(err, errors.New("it has failed"))
	}
	if err != nil {
		return fmt.Errorf("when the disk works: %w", err)
	}
	for key := range before {
		if !damaged[key] && !d.failed {
			return fmt.Errorf("when the disk works, %q has a value, and was damaged", key)
		}
	}
	if len(damaged) > 1 && !d.broken {
		return fmt.Errorf("one failing read, and damaged are %v", damaged)
	}
	return nil
}

// look reads each key, and then all by a scan.
func (d *unreadable) look(e storage.Engine, want model) (damaged map[string]bool, err error) {
	damaged = make(map[string]bool)
	for _, p := range want.pairs(nil, nil) {
		v, err := e.Get([]byte(p.key))
		switch {
		case errors.Is(err, core.ErrDamaged):
			damaged[p.key] = true
		case errors.Is(err, storage.ErrFailed):
			d.failed = true
		case err != nil || string(v) != p.value:
			return nil, fmt.Errorf("%q reads %s, %w; want %s", p.key, short(string(v)), err, short(p.value))
		}
	}
	found := make(model)
	if _, err := e.Scan(nil, nil, everything(), func(k, v []byte) bool {
		found[string(k)] = string(v)
		return true
	}); err != nil {
		d.failed = true
		return damaged, allowed(err, storage.ErrFailed)
	}
	before, unknown := maps.Clone(damaged), false
	for key := range want { // the scan, or this look, may have met another read that fails
		if _, err := e.Get([]byte(key)); errors.Is(err, core.ErrDamaged) {
			damaged[key] = true
		} else if errors.Is(err, storage.ErrFailed) {
			d.failed, unknown = true, true
		}
	}
	for key, value := range want {
		got, ok := found[key]
		if before[key] && ok || !ok && !damaged[key] && !unknown || ok && got != value {
			return nil, fmt.Errorf("a scan shows %s, %v for %q, damaged before and after: %v, %v; want %s",
				short(got), ok, key, before[key], damaged[key], short(value))
		}
		delete(found, key)
	}
	if len(found) > 0 {
		return nil, fmt.Errorf("a scan shows what was never written: %v", found)
	}
	return damaged, nil
}
