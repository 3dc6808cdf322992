package badger

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	badger "github.com/dgraph-io/badger/v4"
)

const (
	// sweepEntries and sweepBytes are at what a step of a sweep ends: some
	// milliseconds of reading, and what a transaction takes.
	sweepEntries = 4096
	sweepBytes   = 1 << 20
	// sweepShare: a sweep reads all keys, so there is one only where one entry of
	// so many says that its key is deleted.
	sweepShare = 8
)

// mark is an entry that says that its key is deleted.
type mark struct {
	key     []byte // badger's
	version uint64
}

// sweep has badger delete the keys whose marks hide nothing any more. See
// "Deletions" in the package's documentation.
func (c *collector) sweep() error {
	before := c.library.marks.Load()
	if before*sweepShare < c.entries {
		return nil
	}
	var entries, left int64
	var from []byte
	for cost := int64(0); ; {
		if !c.admit.Step(int(cost), c.stop) {
			return nil
		}
		s, err := c.library.look(from)
		if err != nil {
			return err
		}
		dropped, err := c.library.drop(s.idle)
		if err != nil {
			return err
		}
		entries += s.entries
		left += s.marks - dropped
		if from, cost = s.next, s.bytes; from == nil {
			break
		}
	}
	c.entries = entries
	c.library.marks.Add(left - before)
	return nil
}

// sight is what one step of a sweep has seen.
type sight struct {
	entries, bytes, marks int64
	idle                  []mark // those that hide nothing
	next                  []byte // the key to go on at, nil at the end
}

// look looks at the entries of the keys from one on.
func (l *library) look(from []byte) (s sight, err error) {
	txn := l.db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false
	o.AllVersions = true
	iter := txn.NewIterator(o)
	defer iter.Close()
	if from == nil {
		from = inner(nil)
	}
	var key []byte // whose entries these are, the newest first
	marked := false
	for iter.Seek(from); iter.Valid(); iter.Next() {
		item := iter.Item()
		if item.Key()[0] != keyPrefix {
			break
		}
		is := item.UserMeta() == removed && !item.IsDeletedOrExpired()
		switch {
		case !bytes.Equal(item.Key(), key):
			if s.entries >= sweepEntries || s.bytes >= sweepBytes {
				s.next = item.KeyCopy(nil)
				return s, l.log.err()
			}
			key = item.KeyCopy(key)
			if marked = is; is {
				s.idle = append(s.idle, mark{bytes.Clone(key), item.Version()})
			}
		case marked && !is: // it hides this
			s.idle = s.idle[:len(s.idle)-1]
			marked = false
		}
		if is {
			s.marks++
		}
		s.entries++
		s.bytes += item.KeySize() // values in the log are not read
		if v := item.ValueSize(); v < valueThreshold {
			s.bytes += v
		}
	}
	return s, l.log.err()
}

// drop has badger delete keys whose newest entries are still the marks that hid
// nothing, and returns of how many. What does not fit into a transaction, or on
// the disk, has to wait for the next sweep.
func (l *library) drop(marks []mark) (dropped int64, err error) {
	if len(marks) == 0 || checkRoom(l.disk, l.dir, 0) != nil {
		return 0, nil
	}
	l.applying.Lock()
	defer l.applying.Unlock()
	ts := l.clock.next()
	txn := l.db.NewTransactionAt(l.clock.now(), true)
	defer txn.Discard()
	for _, m := range marks {
		item, err := txn.Get(m.key)
		if errors.Is(err, badger.ErrKeyNotFound) || err == nil && item.Version() != m.version {
			continue
		}
		if err == nil {
			err = txn.Delete(m.key)
		}
		if errors.Is(err, badger.ErrTxnTooBig) {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("giving deletions back: %w", err)
		}
		dropped++
	}
	if dropped == 0 {
		return 0, nil
	}
	if err := txn.CommitAt(ts, nil); err != nil {
		return 0, fmt.Errorf("giving deletions back: %w", err)
	}
	l.clock.advance(ts)
	return dropped, l.syncNames()
}
