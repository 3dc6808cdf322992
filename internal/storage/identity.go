package storage

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/dynamo-kv/dynamo/internal/id"
)

// Format is the version of the data directory that this code writes: its
// files and their places, and what the engines' keys and values mean.
const Format = 1

// Identity says who wrote a data directory. It is drawn up when the directory
// is made, and only a migration changes it: the engine, and nothing else.
type Identity struct {
	Format int
	Engine string
	Node   id.Node
	// Instance is drawn at random when the directory is made, so that a disk
	// that was replaced is not taken for the one that was lost. An engine that
	// is not durable has a new one each time that it is opened.
	Instance uint64
}

// identityFile is how an identity is written down. The instance is a string
// of hexadecimal digits because JSON's numbers are not exact past 2^53.
type identityFile struct {
	Format   int    `json:"format"`
	Engine   string `json:"engine"`
	Node     string `json:"node"`
	Instance string `json:"instance"`
}

func newIdentity(engine string, node id.Node) Identity {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails: the process ends where there is no randomness
	return Identity{Format: Format, Engine: engine, Node: node, Instance: binary.LittleEndian.Uint64(b[:])}
}

func (i Identity) encode() []byte {
	f := identityFile{
		Format:   i.Format,
		Engine:   i.Engine,
		Node:     string(i.Node),
		Instance: fmt.Sprintf("%016x", i.Instance),
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		panic(err) // there is nothing in it that could not be encoded
	}
	return append(b, '\n')
}

// decodeIdentity reads an identity. One of a newer format is ErrForeign,
// whatever else it holds.
func decodeIdentity(b []byte) (Identity, error) {
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &version); err != nil {
		return Identity{}, fmt.Errorf("%w: its identity is not JSON: %w", ErrDamaged, err)
	}
	if version.Format > Format {
		return Identity{}, fmt.Errorf("%w: it has format %d, and this program knows up to %d; use the newer program that wrote it, or another directory", ErrForeign, version.Format, Format)
	}
	var f identityFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return Identity{}, fmt.Errorf("%w: its identity: %w", ErrDamaged, err)
	}
	return f.check()
}

func (f identityFile) check() (Identity, error) {
	if f.Format < 1 {
		return Identity{}, fmt.Errorf("%w: its identity has format %d; the first is 1", ErrDamaged, f.Format)
	}
	if f.Engine == "" {
		return Identity{}, fmt.Errorf("%w: its identity names no engine", ErrDamaged)
	}
	node, err := id.ParseNode(f.Node)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: its identity: %w", ErrDamaged, err)
	}
	instance, err := strconv.ParseUint(f.Instance, 16, 64)
	if err != nil || len(f.Instance) != 16 {
		return Identity{}, fmt.Errorf("%w: its identity has the instance %q; it must be 16 hexadecimal digits", ErrDamaged, f.Instance)
	}
	return Identity{Format: f.Format, Engine: f.Engine, Node: node, Instance: instance}, nil
}
