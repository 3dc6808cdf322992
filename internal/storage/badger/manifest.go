package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/dynamo-kv/dynamo/internal/storage"
)

// manifest is what a store's manifest is good for.
type manifest struct {
	end, size     int64 // of its records, and of the file
	named, tables int   // the tables that it names, and those that there are
}

// readManifest reads the manifest to its end.
func readManifest(dir string, o badger.Options) (m manifest, err error) {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return m, err
	}
	read, end, err := badger.ReplayManifestFile(f, o.ExternalMagicVersion, o)
	if err != nil {
		return m, fmt.Errorf("%w: %s: %w", storage.ErrDamaged, badger.ManifestFilename, err)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	return manifest{end: end, size: info.Size(), named: len(read.Tables), tables: len(tables)}, err
}

// trust is an error if the manifest ends in what is no record, and there are
// tables that it does not name. badger takes such an end for a record that a
// crash has torn, goes by what stands before it, and removes the other tables. A
// crash tears a record of some bytes hardly ever; where damage looks like that,
// what is in the tables was durable.
func (m manifest) trust() error {
	if m.end == m.size || m.tables <= m.named {
		return nil
	}
	return fmt.Errorf("%w: %s ends in what is no record at byte %d of %d, and names %d of %d tables, of which a start would remove the others; put the folder aside, and start the node as one whose disk was lost",
		storage.ErrDamaged, badger.ManifestFilename, m.end, m.size, m.named, m.tables)
}
