package dynamo

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// flipOn changes a byte of a stored value on the disk of machine i, of the engine
// lss, and reports whether it was found.
func (l *lab) flipOn(i int, value string) bool {
	l.t.Helper()
	fs := l.hosts[i].disk.FS()
	dir := fs.PathJoin("dynamo-data", l.hosts[i].name, "lss")
	names, err := fs.List(dir)
	if err != nil {
		l.t.Fatal(err)
	}
	found := false
	for _, name := range names {
		if !strings.HasSuffix(name, ".seg") {
			continue
		}
		f, err := fs.OpenReadWrite(fs.PathJoin(dir, name), "")
		if err != nil {
			l.t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if at := bytes.Index(b, []byte(value)); at >= 0 {
			found = true
			_, wrote := f.WriteAt([]byte{b[at] ^ 1}, int64(at))
			err = errors.Join(err, wrote, f.Sync())
		}
		if err = errors.Join(err, f.Close()); err != nil {
			l.t.Fatal(err)
		}
	}
	return found
}

// TestDamageComesBackByItself: a node stops in order, its disk changes a byte of a
// record, and it starts again, on the hash trees that it has saved. Nobody reads
// the key. Whatever of the node's own work comes upon it, the record comes back
// from the other owners.
func TestDamageComesBackByItself(t *testing.T) {
	const marker = "a value that is not to be lost"
	for _, one := range []struct {
		finder string
		value  string // of the key; a segment that it fills by half is not merged
	}{
		{"merging", marker},
		{"scrubbing", marker + strings.Repeat("-", 16<<20-len(marker))},
	} {
		t.Run(one.finder, func(t *testing.T) {
			started := 0
			change := func(c *Config) {
				if started++; started == 3 { // the machine with the damage; the others need no such segments
					c.StorageEngine, c.ScrubInterval = "lss", time.Minute
				}
				c.RequestTimeout, c.PeerTimeout = 10*time.Second, 10*time.Second
				c.MaxValueBytes = len(one.value)
			}
			inLab(t, 3, 1, change, func(t *testing.T, l *lab) {
				put(t, l.hosts[0].node, "k", one.value, nil, Overwrite(), WithW(3))
				l.pass(10 * time.Second) // until the trees agree and can be saved
				l.stop(l.hosts[2].node, l.hosts[2].slow)
				if !l.flipOn(2, marker) {
					t.Fatal("the value is nowhere on the disk")
				}
				l.start(2)
				n := l.hosts[2].node
				l.pass(3 * time.Minute)
				engine := n.parts.Load().engine.Stats()
				if engine.Damaged != 1 {
					t.Errorf("%d damaged records found, want 1", engine.Damaged)
				}
				if scrubbed := engine.Scrub.Found > 0; scrubbed != (one.finder == "scrubbing") {
					t.Errorf("it was not found by %s: %+v", one.finder, engine.Scrub)
				}
				if values := own(t, n, "k"); len(values) != 1 || values[0] != one.value {
					t.Errorf("%d values came back; the node: %v", len(values), n.Err())
				}
			})
		})
	}
}
