package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// asidePrefix begins the names of what was set aside; the instance follows,
// then asideSuffix for the identity, or a dash and the engine for its folder.
// They stay in the data directory, since only there a rename is one step.
const (
	asidePrefix = "aside-"
	asideSuffix = ".json"
)

func asideIdentity(instance uint64) string {
	return fmt.Sprintf("%s%016x%s", asidePrefix, instance, asideSuffix)
}

func asideFolder(i Identity) string {
	return fmt.Sprintf("%s%016x-%s", asidePrefix, i.Instance, i.Engine)
}

// SetAside renames a node's data within its data directory, so that the next
// opening makes a new and empty store with an instance of its own. The
// directory must not be open. It returns the path of the folder with the data,
// empty where there was none. A crash in between leaves either the data in
// use, or a rename that the next Open completes.
func SetAside(o Options, drivers ...Driver) (folder string, err error) {
	o = o.withDefaults()
	driver, err := o.validate(drivers)
	if err != nil || !driver.Durable {
		return "", err // what is not durable is empty anyway
	}
	if o.FS == nil {
		o.FS = vfs.OS()
		if o.Dir, err = realPath(o.Dir); err != nil {
			return "", err
		}
	}
	d := directory{fs: o.FS, path: o.Dir}
	folder, err = d.setAside(drivers)
	if err != nil {
		return "", fmt.Errorf("%s: setting the data aside: %w", o.Dir, err)
	}
	return folder, nil
}

func (d directory) setAside(drivers []Driver) (folder string, err error) {
	lock, err := d.lock()
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	found, err := d.inspect(drivers)
	if err != nil || !found.complete {
		return "", err
	}
	if err := d.endMigration(found); err != nil {
		return "", err
	}
	// The identity goes first, and is there twice before it is there once:
	// when it has gone, the rest is no store in use.
	if err := d.write(asideIdentity(found.identity.Instance), found.identity.encode()); err != nil {
		return "", err
	}
	if err := d.sync(d.path); err != nil {
		return "", err
	}
	if err := d.fs.Remove(d.join(identityName)); err != nil {
		return "", err
	}
	if err := d.sync(d.path); err != nil {
		return "", err
	}
	return d.join(asideFolder(found.identity)), d.follow(found.identity)
}

// endMigration ends a migration one way or the other, since it says something
// only of a directory with an identity.
func (d directory) endMigration(found contents) error {
	switch m := found.migration; {
	case m == nil:
		return nil
	case found.identity.Engine == m.From:
		return d.abandon(*m)
	case found.identity.Engine == m.To:
		return d.settle(found.identity, *m)
	}
	return d.stray(found)
}

// follow renames the folder of an engine whose identity is set aside.
func (d directory) follow(i Identity) error {
	if err := d.fs.Rename(d.join(i.Engine), d.join(asideFolder(i))); err != nil {
		return err
	}
	return d.sync(d.path)
}

// half returns the identity of data that was being set aside when a crash
// came: its folder has not followed. names are those of what is aside.
func (d directory) half(names []string, folders map[string]bool) *Identity {
	for _, name := range names {
		if !strings.HasSuffix(name, asideSuffix) {
			continue
		}
		i, err := d.read(name)
		if err != nil || !folders[i.Engine] {
			continue
		}
		if _, err := d.fs.Stat(d.join(asideFolder(i))); errors.Is(err, fs.ErrNotExist) {
			return &i
		}
	}
	return nil
}
