package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/grouped"
)

// Engine implements storage.Engine.
type Engine struct{ *grouped.Engine }

var _ storage.Engine = (*Engine)(nil)

// Open opens the engine in its folder.
func Open(o Options) (*Engine, error) {
	if err := o.prepare(); err != nil {
		return nil, fmt.Errorf("bolt: %w", err)
	}
	l, err := open(filepath.Join(o.Dir, fileName), o)
	if err != nil {
		return nil, fmt.Errorf("bolt: %w", err)
	}
	if o.Create {
		if err := syncDir(o.Dir); err != nil {
			return nil, errors.Join(fmt.Errorf("bolt: %w", err), l.Close())
		}
	}
	return &Engine{grouped.New(l, grouped.Options{
		Name:      Name,
		Logger:    o.Logger,
		OnFailure: o.OnFailure,
		Buckets:   o.Buckets,
	})}, nil
}

// prepare makes the folder, or checks that it is there with a store in it,
// which bbolt would make.
func (o Options) prepare() error {
	if o.Create {
		return os.Mkdir(o.Dir, 0o700)
	}
	path := filepath.Join(o.Dir, fileName)
	info, err := os.Stat(path)
	if err == nil && info.Size() == 0 {
		err = fmt.Errorf("%w: %s is empty", storage.ErrDamaged, fileName)
	}
	if err != nil {
		return err
	}
	return tellMetas(path, o.Logger)
}

// syncDir makes durable which entries a directory has.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// library implements grouped.Library.
type library struct {
	db *bbolt.DB
	// stuck: a transaction has met damage where bbolt lets go of none of its
	// locks: when it was begun, or when it wrote.
	stuck atomic.Bool
}

var _ grouped.Library = (*library)(nil)

// open opens the file, or makes it with the bucket in it.
func open(path string, o Options) (*library, error) {
	l := new(library)
	err := guard(func() (err error) {
		l.db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			// Who opens has the data directory's lock, so nobody has the file's.
			Timeout:         time.Nanosecond,
			InitialMmapSize: mapBytes,
			MaxSize:         o.MaxBytes,
			FreelistType:    bbolt.FreelistMapType,
			NoStatistics:    true,
		})
		return err
	})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("%w: another program holds %s; stop that first", storage.ErrInUse, path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	l.db.AllocSize = growBytes
	if err := l.begin(o.Create); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), l.Close())
	}
	return l, nil
}

// begin makes the bucket, or checks that there is one.
func (l *library) begin(create bool) error {
	if create {
		return l.update(func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket(bucketName)
			return err
		})
	}
	return l.view(func(tx *bbolt.Tx) error {
		_, err := bucketOf(tx)
		return err
	})
}

// view has f carried out in a transaction that reads.
func (l *library) view(f func(*bbolt.Tx) error) error {
	begun := false
	err := guard(func() error {
		return l.db.View(func(tx *bbolt.Tx) error {
			begun = true
			return f(tx)
		})
	})
	if !begun && errors.Is(err, storage.ErrDamaged) {
		l.stuck.Store(true)
	}
	return err
}

// update has f carried out in a transaction that writes.
func (l *library) update(f func(*bbolt.Tx) error) error {
	err := guard(func() error { return l.db.Update(f) })
	if errors.Is(err, storage.ErrDamaged) {
		l.stuck.Store(true)
	}
	return err
}

// guard makes errors of the panics in which bbolt ends where it meets damage,
// and of faults where the file ends before its map does.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", storage.ErrDamaged, p)
		}
	}()
	return f()
}

// Get implements grouped.Library.
func (l *library) Get(key []byte) (value []byte, found bool, err error) {
	err = l.view(func(tx *bbolt.Tx) error {
		at := inner(key)
		// Unlike Bucket.Get, this has a value that was made a bucket by damage
		// not be missing, but damaged.
		k, stored := tx.Bucket(bucketName).Cursor().Seek(at)
		if found = bytes.Equal(k, at); !found {
			return nil
		}
		v, err := unsealed(k, stored)
		value = append(make([]byte, 0, len(v)), v...)
		return err
	})
	return value, found, err
}

// Apply implements grouped.Library, in one transaction.
func (l *library) Apply(batches [][]core.Write) error {
	return l.update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketName)
		for _, batch := range batches {
			for _, w := range batch {
				if err := write(b, w); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func write(b *bbolt.Bucket, w core.Write) error {
	if w.Delete {
		return b.Delete(inner(w.Key))
	}
	key := inner(w.Key)
	return b.Put(key, sealed(key, w.Value))
}

// Snapshot implements grouped.Library.
func (l *library) Snapshot() (grouped.Snapshot, error) {
	var s snapshot
	err := guard(func() (err error) {
		s.tx, err = l.db.Begin(false)
		return err
	})
	if errors.Is(err, storage.ErrDamaged) {
		l.stuck.Store(true)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// snapshot is a transaction that reads.
type snapshot struct{ tx *bbolt.Tx }

// Ascend implements grouped.Snapshot.
func (s snapshot) Ascend(from []byte, f func(key, value []byte) bool) error {
	return guard(func() error {
		c := s.tx.Bucket(bucketName).Cursor()
		for k, stored := c.Seek(inner(from)); k != nil; k, stored = c.Next() {
			v, err := unsealed(k, stored)
			if err != nil || !f(k[1:], v) {
				return err
			}
		}
		return nil
	})
}

// Close implements grouped.Snapshot.
func (s snapshot) Close() { _ = s.tx.Rollback() } // it fails only if it has ended already

// Stats implements grouped.Library. The memory is that of a page for the tree's
// root, at least; the rest is the system's, which takes it back when it needs to.
func (l *library) Stats() storage.Stats {
	s := storage.Stats{Keys: -1, MemoryBytes: int64(l.db.Info().PageSize)}
	if info, err := os.Stat(l.db.Path()); err == nil {
		s.DiskBytes = info.Size()
	}
	return s
}

// Close implements grouped.Library. Where the library is stuck, its file stays
// open until the process ends: to close it would wait for ever.
func (l *library) Close() error {
	if l.stuck.Load() {
		return nil
	}
	return guard(l.db.Close)
}
