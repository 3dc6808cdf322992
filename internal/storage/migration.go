package storage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
)

const (
	// migrationName is a file that is there while the data of a directory is
	// being moved from one engine to another.
	migrationName = "migration.json"
	// migrationUnfinished is that file while it is written.
	migrationUnfinished = migrationName + ".tmp"
	// migrationFormat is the version of the file.
	migrationFormat = 1
	// migratedSuffix ends the name of a folder that was moved out of the way
	// when its data had moved to another engine.
	migratedSuffix = "-migrated"
)

// Migration is what a directory says of a migration that has not ended. Its data
// is with the engine that the identity names, From, until one step makes that To;
// what is left to do then is to remove the files of From.
type Migration struct {
	From, To string
	// Made says that To's folder holds a whole store, though not all of the
	// data. Before that, the folder is of no use.
	Made bool
	// Keep says that the files of From are kept, under another name.
	Keep bool
}

type migrationFile struct {
	Format int    `json:"format"`
	From   string `json:"from"`
	To     string `json:"to"`
	Made   bool   `json:"made"`
	Keep   bool   `json:"keep"`
}

func (m Migration) encode() []byte {
	b, err := json.MarshalIndent(migrationFile{migrationFormat, m.From, m.To, m.Made, m.Keep}, "", "  ")
	if err != nil {
		panic(err) // there is nothing in it that could not be encoded
	}
	return append(b, '\n')
}

// decodeMigration reads the file. One of a newer format is ErrForeign, whatever
// else it holds.
func decodeMigration(b []byte) (Migration, error) {
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &version); err != nil {
		return Migration{}, fmt.Errorf("%w: its %s is not JSON: %w", ErrDamaged, migrationName, err)
	}
	if version.Format > migrationFormat {
		return Migration{}, fmt.Errorf("%w: its %s has format %d, and this program knows up to %d; use the newer program that wrote it",
			ErrForeign, migrationName, version.Format, migrationFormat)
	}
	var f migrationFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return Migration{}, fmt.Errorf("%w: its %s: %w", ErrDamaged, migrationName, err)
	}
	if f.Format < 1 || f.From == "" || f.To == "" || f.From == f.To {
		return Migration{}, fmt.Errorf("%w: its %s has format %d and goes from the engine %q to %q", ErrDamaged, migrationName, f.Format, f.From, f.To)
	}
	return Migration{From: f.From, To: f.To, Made: f.Made, Keep: f.Keep}, nil
}

// note makes durable how far a migration is. The file is never half written.
func (d directory) note(m Migration) error {
	if err := d.write(migrationUnfinished, m.encode()); err != nil {
		return err
	}
	if err := d.fs.Rename(d.join(migrationUnfinished), d.join(migrationName)); err != nil {
		return fmt.Errorf("%s: %w", migrationName, err)
	}
	return d.sync(d.path)
}

// migration reads how far a migration is.
func (d directory) migration() (*Migration, error) {
	b, err := d.readFile(migrationName)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", migrationName, err)
	}
	m, err := decodeMigration(b)
	if err != nil {
		return nil, err
	}
	return &m, nil
}

// underWay returns the migration that has not ended, nil where there is none.
func (d directory) underWay(i Identity) (*Migration, error) {
	m, err := d.migration()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err == nil && i.Engine != m.From && i.Engine != m.To:
		return nil, d.stray(contents{identity: i, migration: m})
	}
	return m, err
}

// resume brings the remains of a migration to where a node may start. One that
// has come to its switch is ended. Before that, the data is where it was: a node
// goes on with it, and the migration will compare everything once more.
func (d directory) resume(found contents, log *slog.Logger) error {
	m := found.migration
	switch {
	case m == nil:
		return nil
	case found.identity.Engine == m.To:
		return d.settle(found.identity, *m)
	case found.identity.Engine == m.From:
		log.Warn("a migration to another engine is half done and takes room on the disk: complete it with dynamo migrate when the node is stopped, or give it up with --abort",
			"from", m.From, "to", m.To)
		return nil
	}
	return d.stray(found)
}

// stray is the error for a migration that is not of this directory's data.
func (d directory) stray(found contents) error {
	return fmt.Errorf("%w: its %s tells of a migration from %q to %q, and its data is with the engine %q; remove that file if you know how it came there",
		ErrDamaged, migrationName, found.migration.From, found.migration.To, found.identity.Engine)
}

// settle ends a migration after its switch.
func (d directory) settle(i Identity, m Migration) error {
	if err := d.clear(i, m); err != nil {
		return fmt.Errorf("what the engine %q has left: %w", m.From, err)
	}
	return d.forget()
}

// clear removes the files of the old engine, or moves them out of the way.
func (d directory) clear(i Identity, m Migration) error {
	old, kept := d.join(m.From), d.join(migratedFolder(i, m.From))
	_, err := d.fs.Stat(old)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if m.Keep {
		// Where both are there, the renaming had begun: a file system may keep
		// the new name without having lost the old one.
		if _, err := d.fs.Stat(kept); errors.Is(err, fs.ErrNotExist) {
			return d.fs.Rename(old, kept)
		}
	}
	return d.fs.RemoveAll(old)
}

func migratedFolder(i Identity, engine string) string {
	return fmt.Sprintf("%s%016x-%s%s", asidePrefix, i.Instance, engine, migratedSuffix)
}

// forget ends a migration of which nothing else is left.
func (d directory) forget() error {
	if err := d.sync(d.path); err != nil {
		return err
	}
	if err := d.fs.Remove(d.join(migrationName)); err != nil {
		return fmt.Errorf("%s: %w", migrationName, err)
	}
	return d.sync(d.path)
}

// abandon gives up a migration before its switch.
func (d directory) abandon(m Migration) error {
	m.Made = false // from here on the folder is of no use
	if err := d.note(m); err != nil {
		return err
	}
	if err := d.fs.RemoveAll(d.join(m.To)); err != nil {
		return fmt.Errorf("the copy for the engine %q: %w", m.To, err)
	}
	return d.forget()
}

// Migration returns the migration that has begun and not ended, if there is one.
func (h *Offline) Migration() (m Migration, ok bool) {
	if h.found.migration == nil {
		return Migration{}, false
	}
	return *h.found.migration, true
}

// Resume ends a migration that has passed its switch, as the next start of the
// node would, and says whether there was one.
func (h *Offline) Resume() (ended bool, err error) {
	m := h.found.migration
	if m == nil || h.found.identity.Engine == m.From {
		return false, nil
	}
	if h.found.identity.Engine != m.To {
		return false, h.dir.stray(h.found)
	}
	if err := h.dir.settle(h.found.identity, *m); err != nil {
		return false, err
	}
	h.found.migration = nil
	return true, nil
}

// Begin begins or resumes the migration to an engine, and returns that engine:
// empty, or with what it was given before, if that can be opened. It is the caller's, who closes it
// before Switch. A half-done migration to another engine must be abandoned first.
func (h *Offline) Begin(to string, keep bool) (Engine, error) {
	m := Migration{From: h.found.identity.Engine, To: to, Keep: keep}
	switch found := h.found.migration; {
	case found != nil && (found.From != m.From || found.To != to):
		return nil, h.dir.stray(h.found)
	case found != nil:
		m.Made = found.Made
	case h.found.folder[to]:
		return nil, fmt.Errorf("%w: there is a folder %q, and no migration has made it; move it away if it is of no use", ErrForeign, to)
	}
	if kept := migratedFolder(h.found.identity, m.From); keep {
		if _, err := h.dir.fs.Stat(h.dir.join(kept)); err == nil {
			return nil, fmt.Errorf("%w: an earlier migration has kept %q; move it away or remove it, to keep this engine's files", ErrForeign, kept)
		}
	}
	if err := h.note(m); err != nil {
		return nil, err
	}
	if !m.Made {
		return h.make(m)
	}
	e, err := h.open(to, false)
	if err == nil || errors.Is(err, ErrInUse) || advice(err) != "" {
		return e, err
	}
	// It is a copy: where a crash has left one that does not open, another is made.
	h.o.Logger.Warn("the copy that an earlier migration has left cannot be opened and is made anew", "engine", to, "error", err)
	m.Made = false
	if err := h.note(m); err != nil {
		return nil, err
	}
	return h.make(m)
}

// make makes the engine, in place of what an unfinished attempt has left.
func (h *Offline) make(m Migration) (Engine, error) {
	if err := h.dir.fs.RemoveAll(h.dir.join(m.To)); err != nil {
		return nil, fmt.Errorf("remains of an unfinished migration: %w", err)
	}
	e, err := h.open(m.To, true)
	if err != nil {
		return nil, err
	}
	m.Made = true
	err = h.dir.sync(h.dir.path)
	if err == nil {
		err = h.note(m)
	}
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

func (h *Offline) note(m Migration) error {
	if err := h.dir.note(m); err != nil {
		return err
	}
	h.found.migration = &m
	return nil
}

// OpenCopy opens the engine that Begin has made.
func (h *Offline) OpenCopy() (Engine, error) { return h.open(h.found.migration.To, false) }

// Switch makes the directory's data what the migration's engine holds, in one
// step, durably, and then ends the migration. Both engines are closed. Where the
// files of the old one are kept, it says under which path.
//
// After an error the data is with the engine that Identity names: the old one, or
// the new one, and then the next start or the next call of Resume does the rest.
func (h *Offline) Switch() (kept string, err error) {
	m := *h.found.migration
	i := h.found.identity
	i.Engine = m.To
	if err := h.dir.write(unfinishedName, i.encode()); err != nil {
		return "", err
	}
	if err := h.dir.complete(); err != nil {
		return "", err
	}
	h.found.identity = i
	if m.Keep {
		kept = h.dir.join(migratedFolder(i, m.From))
	}
	_, err = h.Resume()
	return kept, err
}

// Abandon gives up a migration that has not come to its switch, and removes the
// copy.
func (h *Offline) Abandon() error {
	if err := h.dir.abandon(*h.found.migration); err != nil {
		return err
	}
	h.found.migration = nil
	return nil
}
