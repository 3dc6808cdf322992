package vfs_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// must fails the test for an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write makes a file with a text, synced or not, and syncs the root directory
// if it is.
func write(t *testing.T, fs vfs.FS, name, text string, sync bool) {
	t.Helper()
	f, err := fs.Create(name, "")
	must(t, err)
	_, err = f.Write([]byte(text))
	must(t, err)
	if sync {
		must(t, f.Sync())
		d, err := fs.OpenDir("/")
		must(t, err)
		must(t, errors.Join(d.Sync(), d.Close()))
	}
	must(t, f.Close())
}

// read returns a file's text, or that there is none.
func read(t *testing.T, fs vfs.FS, name string) string {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		return "none"
	}
	b, err := io.ReadAll(f)
	must(t, errors.Join(err, f.Close()))
	return string(b)
}

func TestPowerCut(t *testing.T) {
	disk := vfs.NewDisk()
	write(t, disk.FS(), "synced", "text", true)
	write(t, disk.FS(), "other", "text", false)
	for _, test := range []struct {
		keep  int
		other string
	}{{0, "none"}, {100, "text"}} {
		after := disk.PowerCut(rand.New(rand.NewPCG(1, 1)), test.keep).FS()
		if got := read(t, after, "synced"); got != "text" {
			t.Errorf("keeping %d %%: the synced file reads %q", test.keep, got)
		}
		if got := read(t, after, "other"); got != test.other {
			t.Errorf("keeping %d %%: the other file reads %q, want %q", test.keep, got, test.other)
		}
	}
	if got := read(t, disk.FS(), "other"); got != "text" {
		t.Errorf("the disk itself reads %q", got)
	}
}

// TestPowerCutOfDirectories cuts the power before a directory is synced: what
// was made, removed and renamed in it may have taken place or not, but nothing is
// gone before what was made earlier is there. Afterwards all has.
func TestPowerCutOfDirectories(t *testing.T) {
	disk := vfs.NewDisk()
	fs := disk.FS()
	for _, name := range []string{"stays", "removed", "renamed"} {
		write(t, fs, name, name, true)
	}
	write(t, fs, "made", "made", false)
	must(t, fs.Remove("removed"))
	must(t, fs.Rename("renamed", "new name"))
	rng := rand.New(rand.NewPCG(1, 1))
	found := func(keep int) string {
		after := disk.PowerCut(rng, keep).FS()
		names, err := after.List("/")
		must(t, err)
		slices.Sort(names)
		return strings.Join(names, ", ")
	}
	if got, want := found(0), "removed, renamed, stays"; got != want {
		t.Errorf("with nothing that was not synced: %s; want %s", got, want)
	}
	if got, want := found(100), "made, new name, stays"; got != want {
		t.Errorf("with everything: %s; want %s", got, want)
	}
	seen := make(map[string]bool)
	for range 1000 {
		seen[found(50)] = true
	}
	// If the first change has taken place: removed or not, and one of the two
	// names or both. If not, no name has gone, and the new one is there or not.
	if len(seen) != 2*3+2 {
		t.Errorf("%d outcomes, want 8: %v", len(seen), seen)
	}
	for names := range seen {
		if !strings.Contains(names, "stays") || !strings.Contains(names, "rename") && !strings.Contains(names, "new name") {
			t.Errorf("a file is gone that was synced and not removed: %s", names)
		}
	}
	d, err := fs.OpenDir("/")
	must(t, err)
	must(t, errors.Join(d.Sync(), d.Close()))
	if got, want := found(50), "made, new name, stays"; got != want {
		t.Errorf("when the directory is synced: %s; want %s", got, want)
	}
}

// TestSplitWrites has a torn write: the power is cut between its halves.
func TestSplitWrites(t *testing.T) {
	disk := vfs.NewDisk()
	var torn []string
	fs := vfs.SplitWrites(vfs.Watch(disk.FS(), func(op vfs.Op) error {
		if vfs.Mutates(op) && !vfs.Syncs(op) {
			torn = append(torn, read(t, disk.PowerCut(rand.New(rand.NewPCG(1, 1)), 100).FS(), "file"))
		}
		return nil
	}))
	write(t, fs, "file", "abcdefg", true)
	if want := []string{"none", "", "abc"}; len(torn) != 3 || torn[0] != want[0] || torn[1] != want[1] || torn[2] != want[2] {
		t.Errorf("the file reads in turn %q, want %q", torn, want)
	}
	if got := read(t, disk.FS(), "file"); got != "abcdefg" {
		t.Errorf("in the end it reads %q", got)
	}
}

// stopping returns a file system that stops at the next change when fail is
// set, and counts the changes that reach the disk below.
func stopping(onFail func(error)) (fs *vfs.FailStop, disk *vfs.Disk, fail *atomic.Bool, changes *atomic.Int64) {
	disk, fail, changes = vfs.NewDisk(), new(atomic.Bool), new(atomic.Int64)
	base := vfs.Watch(disk.FS(), func(op vfs.Op) error {
		if !vfs.Mutates(op) {
			return nil
		}
		if fail.Load() {
			return vfs.ErrInjected
		}
		changes.Add(1)
		return nil
	})
	return vfs.NewFailStop(base, onFail), disk, fail, changes
}

// TestFailStop has each kind of change fail: it is taken for a success, told
// once, and followed by nothing on the disk.
func TestFailStop(t *testing.T) {
	for name, change := range map[string]func(fs vfs.FS, open, dir vfs.File) error{
		"write":  func(_ vfs.FS, f, _ vfs.File) error { _, err := f.Write([]byte("more")); return err },
		"sync":   func(_ vfs.FS, f, _ vfs.File) error { return f.Sync() },
		"data":   func(_ vfs.FS, f, _ vfs.File) error { return f.SyncData() },
		"to":     func(_ vfs.FS, f, _ vfs.File) error { _, err := f.SyncTo(1); return err },
		"dir":    func(_ vfs.FS, _, d vfs.File) error { return d.Sync() },
		"create": func(fs vfs.FS, _, _ vfs.File) error { return closed(fs.Create("new", "")) },
		"reuse":  func(fs vfs.FS, _, _ vfs.File) error { return closed(fs.ReuseForWrite("other", "new", "")) },
		"rename": func(fs vfs.FS, _, _ vfs.File) error { return fs.Rename("other", "new") },
		"link":   func(fs vfs.FS, _, _ vfs.File) error { return fs.Link("other", "new") },
		"mkdir":  func(fs vfs.FS, _, _ vfs.File) error { return fs.MkdirAll("new", 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			var told atomic.Int64
			fs, disk, fail, changes := stopping(func(error) { told.Add(1) })
			write(t, fs, "other", "text", true)
			open, err := fs.Create("open", "")
			must(t, err)
			dir, err := fs.OpenDir("/")
			must(t, err)
			must(t, fs.Err())

			fail.Store(true)
			must(t, change(fs, open, dir))
			if !errors.Is(fs.Err(), vfs.ErrInjected) {
				t.Fatalf("the failure is %v", fs.Err())
			}
			fail.Store(false)
			before := changes.Load()
			afterwards(t, fs, open, dir)
			if n := changes.Load() - before; n != 0 {
				t.Errorf("%d changes reached the disk after the failure", n)
			}
			if n := told.Load(); n != 1 {
				t.Errorf("told of the failure %d times", n)
			}
			if got := read(t, disk.FS(), "other"); got != "text" {
				t.Errorf("what was there reads %q", got)
			}
		})
	}
}

func closed(f vfs.File, err error) error {
	if err != nil {
		return err
	}
	return f.Close()
}

// afterwards tries every change on a file system that has stopped.
func afterwards(t *testing.T, fs vfs.FS, open, dir vfs.File) {
	t.Helper()
	for _, f := range []vfs.File{open, created(t, fs)} {
		n, err := f.Write([]byte("text"))
		if must(t, err); n != 4 {
			t.Errorf("%d bytes written of 4", n)
		}
		must(t, errors.Join(f.Sync(), f.SyncData(), f.Preallocate(0, 10)))
		if _, err := f.SyncTo(2); err != nil {
			t.Error(err)
		}
		info, err := f.Stat()
		if must(t, err); info.Size() != 0 || info.IsDir() {
			t.Errorf("it shows as %v", info)
		}
		must(t, f.Close())
	}
	must(t, errors.Join(dir.Sync(), dir.Close()))
	must(t, closed(fs.OpenReadWrite("third", "")))
	must(t, closed(fs.ReuseForWrite("other", "fourth", "")))
	must(t, errors.Join(fs.Rename("other", "x"), fs.Link("other", "x"), fs.MkdirAll("x", 0o700)))
	must(t, errors.Join(fs.Remove("other"), fs.RemoveAll("other")))
}

func created(t *testing.T, fs vfs.FS) vfs.File {
	t.Helper()
	f, err := fs.Create("second", "")
	must(t, err)
	if b, err := io.ReadAll(f); err != nil || len(b) != 0 {
		t.Errorf("a dropped file reads %q, %v", b, err)
	}
	return f
}

// TestFailStopPassesOn has what is no failure returned to the caller.
func TestFailStopPassesOn(t *testing.T) {
	disk := vfs.NewDisk()
	fs := vfs.NewFailStop(disk.FS(), nil)
	if err := fs.Remove("absent"); err == nil {
		t.Error("a file that is not there is removed")
	}
	if _, err := fs.Open("absent"); err == nil {
		t.Error("a file that is not there opens")
	}
	write(t, fs, "file", "text", true)
	must(t, fs.Err())
	if got := read(t, disk.FS(), "file"); got != "text" {
		t.Errorf("a file that was written reads %q", got)
	}
	if n := fs.Syncs(); n != 2 {
		t.Errorf("%d syncs counted of 2", n)
	}
	fs.Fail(vfs.ErrInjected)
	fs.Fail(errors.New("another"))
	if err := fs.Err(); !errors.Is(err, vfs.ErrInjected) {
		t.Errorf("the first failure is %v", err)
	}
}

// slack is a file system whose files tell only when they are closed that
// something could not be written.
type slack struct{ vfs.FS }

func (s slack) Create(name string, c vfs.Category) (vfs.File, error) {
	f, err := s.FS.Create(name, c)
	return slackFile{f}, err
}

type slackFile struct{ vfs.File }

func (f slackFile) Close() error { return errors.Join(f.File.Close(), vfs.ErrInjected) }

func TestFailStopClose(t *testing.T) {
	fs := vfs.NewFailStop(slack{vfs.NewDisk().FS()}, nil)
	must(t, closed(fs.Create("file", "")))
	if !errors.Is(fs.Err(), vfs.ErrInjected) {
		t.Errorf("the failure is %v", fs.Err())
	}
}

// TestLieAboutSyncs has a power cut take what the disk said was safe.
func TestLieAboutSyncs(t *testing.T) {
	for _, lies := range []bool{false, true} {
		disk := vfs.NewDisk()
		write(t, vfs.LieAboutSyncs(disk.FS(), func() bool { return lies }), "file", "text", true)
		want := "text"
		if lies {
			want = "none"
		}
		if got := read(t, disk.PowerCut(nil, 0).FS(), "file"); got != want {
			t.Errorf("lies: %v: the file reads %q after a power cut, want %q", lies, got, want)
		}
		if got := read(t, disk.FS(), "file"); got != "text" {
			t.Errorf("lies: %v: before it, the file reads %q", lies, got)
		}
	}
}
