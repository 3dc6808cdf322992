package bolt

import (
	"bytes"
	"fmt"
	"strconv"

	"go.etcd.io/bbolt"

	"github.com/dynamo-kv/dynamo/internal/storage"
)

// The bucket that holds everything is named by the format of what is in it, so
// that no program finds a bucket which it would misread. The first format, of
// pairs without checksums, had no number.
const (
	bucketPrefix = "data"
	format       = 2
)

// bucketName is the name of the bucket.
var bucketName = []byte(bucketPrefix + strconv.Itoa(format)) //nolint:gochecknoglobals // a constant; slices cannot be

// bucketOf returns the bucket, or an error that says what is there instead.
func bucketOf(tx *bbolt.Tx) (*bbolt.Bucket, error) {
	if b := tx.Bucket(bucketName); b != nil {
		return b, nil
	}
	var names [][]byte
	if err := tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
		names = append(names, name)
		return nil
	}); err != nil {
		return nil, err
	}
	return nil, missing(names)
}

// missing is the error for a store that has other buckets.
func missing(names [][]byte) error {
	for _, name := range names {
		number, ok := bytes.CutPrefix(name, []byte(bucketPrefix))
		found, err := strconv.Atoi(string(number))
		switch {
		case ok && len(number) == 0:
			return fmt.Errorf("%w: its engine's store has format 1, without checksums, and this program knows %d only; move the data to another engine with the program that wrote it (dynamo migrate), and back with this one",
				storage.ErrForeign, format)
		case ok && err == nil && found > format:
			return fmt.Errorf("%w: its engine's store has format %d, and this program knows %d; use the newer program that wrote it",
				storage.ErrForeign, found, format)
		}
	}
	return fmt.Errorf("%w: it has no bucket %q", storage.ErrDamaged, bucketName)
}
