package migrate

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/dynamo-kv/dynamo/internal/storage"
)

// meter tells of the progress of one phase, now and then.
type meter struct {
	progress Progress
	tell     func(Progress)
	every    int // keys
	keys     int // since it was last told
}

// count counts a pair that is done with.
func (m *meter) count(p pair) {
	m.progress.Keys++
	m.progress.Bytes += uint64(len(p.key) + len(p.value))
	if m.keys++; m.keys >= m.every {
		m.told()
	}
}

func (m *meter) told() {
	m.keys = 0
	if m.tell != nil {
		m.tell(m.progress)
	}
}

func (r *run) meter(p Phase, total digest) *meter {
	m := &meter{tell: r.o.Progress, every: r.limits.toldKeys, progress: Progress{Phase: p, TotalKeys: total.keys, TotalBytes: total.bytes}}
	m.told()
	return m
}

// count reads all that the old engine holds.
func (r *run) count(ctx context.Context, old storage.Engine) (digest, error) {
	m, d := r.meter(Counting, digest{}), newDigester()
	from := r.reader(ctx, old)
	for p, ok := from.head(); ok; p, ok = from.head() {
		d.add(p)
		m.count(p)
		from.take()
	}
	if from.err != nil {
		return digest{}, r.reading(r.from, from.err)
	}
	m.told()
	found := d.result()
	return found, r.whole(old.Stats(), found)
}

// whole is an error unless the old engine could show all that it has: a scan
// passes over keys whose values are lost.
func (r *run) whole(s storage.Stats, found digest) error {
	lost := s.Damaged
	if s.Keys > int64(found.keys) {
		lost = max(lost, uint64(s.Keys)-found.keys)
	}
	if lost == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d of the records of the engine %q are damaged; look into them with dynamo doctor %s, "+
		"start the node with that engine until the other nodes have repaired them, and migrate then",
		storage.ErrDamaged, lost, r.from, r.hold.Path())
}

// copy makes the copy hold what the old engine holds.
func (r *run) copy(ctx context.Context, old, copied storage.Engine, total digest) (*writer, error) {
	w := &writer{engine: copied, limits: r.limits}
	m := r.meter(Copying, total)
	from, to := r.reader(ctx, old), r.reader(ctx, copied)
	for {
		want, more := from.head()
		got, stands := to.head()
		if !more && !stands || from.err != nil || to.err != nil {
			break
		}
		order := compare(want, more, got, stands)
		var err error
		switch {
		case order > 0: // the old engine has it no more
			err = w.remove(got.key)
		case order < 0 || !bytes.Equal(want.value, got.value):
			err = w.put(want)
		}
		if err != nil {
			return w, r.writing(err)
		}
		if order <= 0 {
			m.count(want)
			from.take()
		}
		if order >= 0 {
			to.take()
		}
	}
	// What was written stays, whatever has ended the loop: the next run has that
	// much less to do.
	err := w.finish()
	if err == nil && from.err == nil && to.err == nil {
		m.told()
	}
	return w, errors.Join(r.reading(r.from, from.err), r.reading(r.to, to.err), r.writing(err))
}

// compare says which of two stores has the lower key next: below zero for the
// first, above for the second, zero where both have the same. One of them has one.
func compare(a pair, okA bool, b pair, okB bool) int {
	if okA && okB {
		return bytes.Compare(a.key, b.key)
	}
	return cmp.Compare(btoi(okB), btoi(okA))
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// verify compares both engines, byte by byte, and with what was counted.
func (r *run) verify(ctx context.Context, old, copied storage.Engine, counted digest) error {
	m := r.meter(Verifying, counted)
	from, to := r.reader(ctx, old), r.reader(ctx, copied)
	olds, copies := newDigester(), newDigester()
	for {
		want, more := from.head()
		got, stands := to.head()
		if !more && !stands || from.err != nil || to.err != nil {
			break
		}
		if compare(want, more, got, stands) != 0 || !bytes.Equal(want.value, got.value) {
			return differs(want, more, got, stands)
		}
		olds.add(want)
		copies.add(got)
		m.count(want)
		from.take()
		to.take()
	}
	if err := errors.Join(r.reading(r.from, from.err), r.reading(r.to, to.err)); err != nil {
		return err
	}
	m.told()
	if o, c := olds.result(), copies.result(); o != counted || c != counted {
		return fmt.Errorf("%w: %d keys with hash %x were counted; then the old engine had %d with %x, and the copy %d with %x",
			ErrDiffers, counted.keys, counted.sum, o.keys, o.sum, c.keys, c.sum)
	}
	return r.whole(old.Stats(), counted)
}

func differs(want pair, more bool, got pair, stands bool) error {
	switch order := compare(want, more, got, stands); {
	case order < 0:
		return fmt.Errorf("%w: the copy lacks the key %s", ErrDiffers, quoted(want.key))
	case order > 0:
		return fmt.Errorf("%w: the copy has the key %s, which the old engine does not have", ErrDiffers, quoted(got.key))
	}
	return fmt.Errorf("%w: the key %s has %d bytes in the old engine, and %d others in the copy",
		ErrDiffers, quoted(want.key), len(want.value), len(got.value))
}

// quotedBytes is how much of a key an error shows.
const quotedBytes = 128

func quoted(key []byte) string {
	if len(key) > quotedBytes {
		return fmt.Sprintf("%q… (%d bytes)", key[:quotedBytes], len(key))
	}
	return fmt.Sprintf("%q", key)
}

// reading adds to an error of an engine what was being done.
func (r *run) reading(engine string, err error) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case engine == r.from:
		return fmt.Errorf("the data of the engine %q cannot be read: %w; look into it with dynamo doctor %s", engine, err, r.hold.Path())
	}
	return fmt.Errorf("the copy for the engine %q cannot be read: %w; %s", engine, err, r.startOver())
}

func (r *run) writing(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the copy for the engine %q: %w", r.to, err)
}
