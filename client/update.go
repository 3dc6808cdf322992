package client

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	// maxUpdates bounds how often Update reads and writes again, when its write
	// was provably not written: each time somebody else has come first.
	maxUpdates = 5

	// maxSettles bounds how often Update writes a merged value after its own,
	// when others write the key at the same time: they merge as well.
	maxSettles = 3
)

// Resolver makes one value of a key's siblings, of which there is one at least.
// It gives the same value for the same siblings, in whatever order they come.
// The siblings are its to keep.
type Resolver func(siblings []Version) ([]byte, error)

// Update reads key, has change make a new value of all its siblings, and writes
// that with the context of the read: it replaces what change was given, and
// nothing else. Where the key does not exist, there are no siblings. change may
// be called several times, since what is provably not written is read and
// changed again, up to five times, so it should do nothing but compute. Modify
// makes one of a Resolver and a function of one value.
//
// Somebody may write the key between the read and the write. Then nothing is
// lost: both values are kept, as siblings, and whoever updates the key next gets
// them both. With [Settle] Update merges them itself after its write.
//
// An error of change ends Update and is in the chain of what it returns. The
// context that is returned covers the value written. Options are those of reads
// and writes alike; WithR and BlockingRepair are for the reads, WithW for the
// writes, Overwrite and WithIdempotencyKey are not allowed, and WithTimeout is for
// all of it.
func (c *Client) Update(
	ctx context.Context, key string, change func(siblings []Version) ([]byte, error), options ...Option,
) (*Context, error) {
	u := updateOf(c.newRequest(opGet, key, nil, options))
	if u.err != nil {
		return nil, &Error{Op: "update", Kind: ErrInvalidRequest, Outcome: NotWritten, Detail: u.err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, u.timeout)
	defer cancel()
	for tries := 1; ; tries++ {
		seen, err := c.updateOnce(ctx, key, change, options)
		if err == nil {
			c.settle(ctx, key, u.settle, options)
			return seen, nil
		}
		if tries == maxUpdates || !repeats(err) || !pauseUpdate(ctx, tries) {
			return nil, err
		}
	}
}

// update is what Update needs to know of its options.
type update struct {
	timeout time.Duration
	settle  Resolver
	err     error
}

func updateOf(r *request) update {
	u := update{timeout: r.timeout, settle: r.settle, err: r.err}
	switch {
	case u.err != nil:
	case r.overwrite:
		u.err = errors.New("overwrite is not for updates: they write with the context of their read")
	case !r.writeID.IsZero():
		u.err = errors.New("an idempotency key is not for updates: they may write several times")
	}
	return u
}

// updateOnce reads, changes and writes.
func (c *Client) updateOnce(
	ctx context.Context, key string, change func([]Version) ([]byte, error), options []Option,
) (*Context, error) {
	r, err := c.Get(ctx, key, forReads(options)...)
	if err != nil && !errors.Is(err, ErrKeyNotFound) {
		return nil, notWritten(err)
	}
	value, err := change(r.Values)
	if err != nil {
		return nil, &Error{Op: "update", Kind: errChange, Outcome: NotWritten, Detail: err.Error(), Cause: err}
	}
	return c.Put(ctx, key, value, r.Context, forWrites(options)...)
}

// errChange is the kind of an error that the caller's function has returned.
var errChange = errors.New("the change failed")

// notWritten gives the error of a read the outcome of the write that did not
// follow.
func notWritten(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		e.Outcome = NotWritten
	}
	return err
}

// forReads returns the options of an update's reads: those of the update as a
// whole are dropped.
func forReads(options []Option) []Option {
	return append(slices.Clip(options), func(r *request) { r.settle = nil })
}

// forWrites returns the options of an update's writes.
func forWrites(options []Option) []Option {
	return append(slices.Clip(options), func(r *request) { r.settle, r.blocking = nil, false })
}

// repeats says whether an update that has failed may succeed when it is done
// anew: the key was full of siblings, or its nodes could not take the write.
func repeats(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Outcome == NotWritten &&
		(errors.Is(e, ErrTooManySiblings) || errors.Is(e, ErrQuorum) || errors.Is(e, ErrOverloaded))
}

func pauseUpdate(ctx context.Context, tries int) bool {
	d, _ := relief().Delay(tries, rand.New(rand.NewPCG(rand.Uint64(), 0)))
	return sleep(ctx, d)
}

// settle merges the siblings that concurrent writers have left. The update has
// been written; what cannot be merged now is merged by the next one.
func (c *Client) settle(ctx context.Context, key string, resolve Resolver, options []Option) {
	if resolve == nil {
		return
	}
	for range maxSettles {
		r, err := c.Get(ctx, key, forReads(options)...)
		if err != nil || len(r.Values) < 2 {
			return
		}
		value, err := resolve(r.Values)
		if err != nil {
			return
		}
		if _, err := c.Put(ctx, key, value, r.Context, forWrites(options)...); err != nil {
			return
		}
	}
}

// Settle has an Update read the key after its write and, where others have
// written it at the same time, write what resolve makes of all siblings, up to
// three times. It costs a read more, and does not fail the update.
func Settle(resolve Resolver) Option { return func(r *request) { r.settle = resolve } }

// Modify returns a function for [Client.Update] that makes one value of the
// siblings, and the new value of that one. Where the key does not exist, change
// gets nil.
func Modify(resolve Resolver, change func(value []byte) ([]byte, error)) func(siblings []Version) ([]byte, error) {
	return func(siblings []Version) ([]byte, error) {
		if len(siblings) == 0 {
			return change(nil)
		}
		value, err := resolve(siblings)
		if err != nil {
			return nil, err
		}
		return change(value)
	}
}

// LastWriteWins is a [Resolver] that takes the value with the latest timestamp,
// and of equal ones the largest in the order of bytes. It drops what others have
// written at the same time, by the clocks of the nodes: it is for values where
// that does not matter.
func LastWriteWins(siblings []Version) ([]byte, error) {
	last := slices.MaxFunc(siblings, func(a, b Version) int {
		if d := a.Timestamp.Compare(b.Timestamp); d != 0 {
			return d
		}
		return bytes.Compare(a.Data, b.Data)
	})
	return last.Data, nil
}

// Union returns a [Resolver] for values that are sets: elements with separator
// between them. The result has every element of any sibling once, sorted. An
// element that one writer has removed while another one wrote comes back; keep
// removals in the value where that matters.
func Union(separator string) Resolver {
	sep := []byte(separator)
	return func(siblings []Version) ([]byte, error) {
		var all [][]byte
		for _, s := range siblings {
			if len(s.Data) > 0 {
				all = append(all, bytes.Split(s.Data, sep)...)
			}
		}
		slices.SortFunc(all, bytes.Compare)
		return bytes.Join(slices.CompactFunc(all, bytes.Equal), sep), nil
	}
}
