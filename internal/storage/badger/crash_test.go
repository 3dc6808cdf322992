package badger_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/badger"
)

func commit(e storage.Engine, batch ...core.Write) error {
	done := make(chan error, 1)
	e.Commit(batch, core.Sync, func(err error) { done <- err })
	return <-done
}

const secret = "a text that is easily found"

// filled makes a store with values in its tables and in its value log, and
// closes it.
func filled(t *testing.T, key []byte) badger.Options {
	t.Helper()
	o := options(filepath.Join(t.TempDir(), "badger"), true)
	o.EncryptionKey = key
	e := mustOpen(t, o)
	for i := range 20 {
		if err := commit(e,
			core.Write{Key: []byte(fmt.Sprintf("small %d", i)), Value: []byte(secret)},
			core.Write{Key: []byte(fmt.Sprintf("large %d", i)), Value: bytes.Repeat([]byte(secret), 200)},
		); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	o.Create = false
	return o
}

// contents returns all bytes of a store's files.
func contents(t *testing.T, dir string) []byte {
	t.Helper()
	var all []byte
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		b, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// TestEncryption looks for what was stored in the files, and opens them with
// the key, another and none.
func TestEncryption(t *testing.T) {
	if !bytes.Contains(contents(t, filled(t, nil).Dir), []byte(secret)) {
		t.Fatal("without encryption the text is not found either: this test shows nothing")
	}
	key := bytes.Repeat([]byte("k"), 32)
	o := filled(t, key)
	if bytes.Contains(contents(t, o.Dir), []byte(secret)) {
		t.Error("an encrypted store has its values in the clear")
	}
	for _, wrong := range [][]byte{nil, bytes.Repeat([]byte("x"), 32)} {
		o.EncryptionKey = wrong
		if e, err := badger.Open(o); err == nil {
			t.Errorf("it opens with the key %q; close: %v", wrong, e.Close())
		}
	}
	o.EncryptionKey = []byte("short")
	if e, err := badger.Open(o); err == nil || !strings.Contains(err.Error(), "5 bytes; 16, 24 or 32 are allowed") {
		t.Errorf("a key that is too short: %v, %v", e, err)
	}
	o.EncryptionKey = key
	e := mustOpen(t, o)
	if v, err := e.Get([]byte("small 7")); err != nil || string(v) != secret {
		t.Errorf("with its key it reads %q, %v", v, err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// TestMissing opens folders without a complete store, in which badger would
// begin anew.
func TestMissing(t *testing.T) {
	dir := t.TempDir()
	if e, err := badger.Open(options(filepath.Join(dir, "absent"), false)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that does not exist: %v, %v", e, err)
	}
	if e, err := badger.Open(options(dir, false)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty folder: %v, %v", e, err)
	}
	if e, err := badger.Open(options(dir, true)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a folder that is there and is to be made: %v, %v", e, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("the empty folder holds %v, %v", entries, err)
	}
}

// TestEmptyLogs opens a store in which a process ended that had just begun its
// next logs.
func TestEmptyLogs(t *testing.T) {
	o := filled(t, nil)
	for _, name := range []string{"000099.vlog", "00099.mem"} {
		if err := os.WriteFile(filepath.Join(o.Dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e := mustOpen(t, o)
	for _, key := range []string{"small 7", "large 7"} {
		if v, err := e.Get([]byte(key)); err != nil || !bytes.Contains(v, []byte(secret)) {
			t.Errorf("%q reads %d bytes, %v", key, len(v), err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedValue damages a value in the value log. badger only logs that,
// and returns an empty value: the engine says that it has failed.
func TestDamagedValue(t *testing.T) {
	o := filled(t, nil)
	path := filepath.Join(o.Dir, "000001.vlog")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b[100:] { // past the header
		b[100+i] ^= 0x55
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 1)
	o.OnFailure = func(err error) { told <- err }
	e, err := badger.Open(o)
	if err != nil {
		t.Logf("found when it is opened: %v", err)
		return
	}
	v, err := e.Get([]byte("large 3"))
	if !errors.Is(err, storage.ErrFailed) {
		t.Errorf("get: %d bytes, %v, want ErrFailed", len(v), err)
	}
	if err := <-told; !errors.Is(err, storage.ErrFailed) {
		t.Errorf("told of %v, want ErrFailed", err)
	}
	if err := commit(e, core.Write{Key: []byte("key")}); !errors.Is(err, storage.ErrFailed) {
		t.Errorf("commit: %v, want ErrFailed", err)
	}
	if err := e.Close(); !errors.Is(err, storage.ErrFailed) {
		t.Errorf("close: %v, want ErrFailed", err)
	}
}

// TestBatchTooLarge has a batch that does not fit into a transaction, and one
// that does because its values are large: they go to the value log.
func TestBatchTooLarge(t *testing.T) {
	e := open(t)
	var large, small []core.Write
	for i := range 8 {
		large = append(large, core.Write{Key: []byte{byte(i)}, Value: make([]byte, smallMemTable)})
	}
	for i := range 1000 {
		small = append(small, core.Write{Key: []byte(fmt.Sprint(i)), Value: make([]byte, 1000)})
	}
	if err := commit(e, large...); err != nil {
		t.Errorf("a batch of large values: %v", err)
	}
	err := commit(e, small...)
	if !errors.Is(err, storage.ErrFailed) || !strings.Contains(err.Error(), "a batch of") {
		t.Errorf("a batch that is too large: %v, want ErrFailed and what was wrong", err)
	}
	if err := e.Close(); !errors.Is(err, storage.ErrFailed) {
		t.Errorf("close: %v, want ErrFailed", err)
	}
}

// TestDamagedManifest damages a length in the manifest, which badger takes for a
// write that a crash has torn: it would go by what stands before, and remove the
// tables that it has not read of. The store does not open, and stays as it was.
func TestDamagedManifest(t *testing.T) {
	o := filled(t, nil)
	e := mustOpen(t, o)
	if err := commit(e, core.Write{Key: []byte("later"), Value: []byte("in a table of its own")}); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(o.Dir, "MANIFEST")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const magic, head = 8, 8 // bytes of the file, and of each record
	last := magic
	for at := magic; at < len(whole); at += head + int(binary.BigEndian.Uint32(whole[at:])) {
		last = at
	}
	b := bytes.Clone(whole)
	b[last+3] += 3 // more than there is
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	before := contents(t, o.Dir)
	e, err = badger.Open(o)
	if !errors.Is(err, storage.ErrDamaged) || !strings.Contains(err.Error(), "MANIFEST") {
		t.Errorf("%v, %v, want ErrDamaged and the file", e, err)
	}
	if !bytes.Equal(contents(t, o.Dir), before) {
		t.Error("the files have changed")
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	e = mustOpen(t, o)
	for key, want := range map[string]string{"small 7": secret, "later": "in a table of its own"} {
		if v, err := e.Get([]byte(key)); err != nil || string(v) != want {
			t.Errorf("with the manifest mended, %q reads %q, %v", key, v, err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}
