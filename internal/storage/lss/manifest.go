package lss

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

const (
	manifestName    = "MANIFEST"
	manifestMagic   = "lss manifest"
	manifestVersion = 1
	manifestHead    = len(manifestMagic) + 4 + 4
	manifestEntry   = 4 + 4 + 8
)

// use is one use of a segment file.
type use struct {
	id   uint32
	end  uint32 // of a sealed segment; 0 while it may be written to
	salt uint64
}

// manifest says which segments there are, in the order of the log. It is
// replaced as a whole. Files that it does not name are nothing.
type manifest []use

var errManifest = errors.New("a manifest that is not well formed")

// encode returns the manifest, twice, so that no damage of one byte takes the
// store along.
func (m manifest) encode() []byte {
	b := append(make([]byte, 0, 2*(manifestHead+len(m)*manifestEntry+4)), manifestMagic...)
	b = binary.LittleEndian.AppendUint32(b, manifestVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(m)))
	for _, u := range m {
		b = binary.LittleEndian.AppendUint32(b, u.id)
		b = binary.LittleEndian.AppendUint32(b, u.end)
		b = binary.LittleEndian.AppendUint64(b, u.salt)
	}
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return append(b, b...)
}

// decodeManifest reads either copy. damaged says that the other is not as it
// was written.
func decodeManifest(b []byte) (m manifest, damaged bool, err error) {
	first, errFirst := decodeCopy(b[:len(b)/2])
	second, errSecond := decodeCopy(b[len(b)/2:])
	switch {
	case errFirst == nil:
		return first, errSecond != nil, nil
	case errSecond == nil:
		return second, true, nil
	default:
		return nil, true, errFirst
	}
}

func decodeCopy(b []byte) (manifest, error) {
	if len(b) < manifestHead+4 || string(b[:len(manifestMagic)]) != manifestMagic {
		return nil, errManifest
	}
	body := b[:len(b)-4]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[len(body):]) {
		return nil, errManifest
	}
	f := body[len(manifestMagic):]
	if v := binary.LittleEndian.Uint32(f); v != manifestVersion {
		return nil, fmt.Errorf("%w: the format of its log is %d, and this program knows %d",
			storage.ErrForeign, v, manifestVersion)
	}
	count, entries := binary.LittleEndian.Uint32(f[4:]), f[8:]
	if uint64(len(entries)) != uint64(count)*manifestEntry {
		return nil, errManifest
	}
	m := make(manifest, 0, count)
	for ; len(entries) > 0; entries = entries[manifestEntry:] {
		u := use{
			id:   binary.LittleEndian.Uint32(entries),
			end:  binary.LittleEndian.Uint32(entries[4:]),
			salt: binary.LittleEndian.Uint64(entries[8:]),
		}
		if len(m) > 0 && u.id <= m[len(m)-1].id || u.end != 0 && u.end < segmentHeadBytes {
			return nil, errManifest
		}
		m = append(m, u)
	}
	return m, nil
}

// folder is the engine's folder.
type folder struct {
	fs   vfs.FS
	path string
}

func (d folder) join(name string) string { return d.fs.PathJoin(d.path, name) }

func segmentName(id uint32) string { return fmt.Sprintf("%08x.seg", id) }
func hintName(id uint32) string    { return fmt.Sprintf("%08x.hint", id) }
func freeName(id uint32) string    { return fmt.Sprintf("%08x.free", id) }

// replace writes a file as a whole: it has its old contents or the new ones,
// whenever the power is cut.
func (d folder) replace(name string, b []byte) error {
	tmp := d.join(name + ".tmp")
	f, err := d.fs.Create(tmp, "")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := d.fs.Rename(tmp, d.join(name)); err != nil {
		return err
	}
	return d.sync()
}

// sync makes durable which files there are.
func (d folder) sync() error { return syncDir(d.fs, d.path) }

func syncDir(fs vfs.FS, path string) error {
	f, err := fs.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// read returns a whole file.
func (d folder) read(name string) ([]byte, error) {
	f, err := d.fs.Open(d.join(name))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	b := make([]byte, info.Size())
	n, err := f.ReadAt(b, 0)
	if errors.Is(err, io.EOF) && n == len(b) {
		err = nil
	}
	return b[:n], errors.Join(err, f.Close())
}
