package membership

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// The records in the store, each under core.ControlKey of its name. Each
// begins with formatVersion; numbers are unsigned varints, strings and layouts
// follow their length. The formats are part of the data directory's.
const (
	identityRecord = "identity"
	membersRecord  = "members"
	layoutsRecord  = "layouts"

	formatVersion = 1
)

// identity is what a node must not forget about itself.
type identity struct {
	cluster     uint64 // 0: it has joined none yet
	incarnation uint64 // the highest one that it has used
}

func encodeIdentity(i identity) []byte {
	b := []byte{formatVersion}
	b = binary.AppendUvarint(b, i.cluster)
	return binary.AppendUvarint(b, i.incarnation)
}

func decodeIdentity(b []byte) (identity, error) {
	d := newDecoder(b, identityRecord)
	i := identity{cluster: d.uvarint(math.MaxUint64), incarnation: d.uvarint(math.MaxUint64)}
	return i, d.end()
}

// encodeMembers encodes what a restart must know of the members: all but
// heartbeat, stamp and synced, which are news when they come.
func encodeMembers(members []core.Member) []byte {
	b := []byte{formatVersion}
	b = binary.AppendUvarint(b, uint64(len(members)))
	for _, m := range members {
		b = appendString(b, string(m.ID))
		b = appendString(b, m.Addr)
		b = appendString(b, m.Zone)
		b = appendString(b, m.Datacentre)
		b = binary.AppendUvarint(b, uint64(m.Weight))
		b = binary.AppendUvarint(b, m.Instance)
		b = binary.AppendUvarint(b, m.Start)
		b = binary.AppendUvarint(b, m.Incarnation)
		b = append(b, byte(m.State))
	}
	return b
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// decodeMembers returns valid records with strictly ascending IDs.
func decodeMembers(b []byte) ([]core.Member, error) {
	d := newDecoder(b, membersRecord)
	count := d.uvarint(id.MaxMembers)
	var members []core.Member
	for range count {
		m := core.Member{
			ID:          id.Node(d.bytes(id.MaxNodeBytes)),
			Addr:        string(d.bytes(maxAddrBytes)),
			Zone:        string(d.bytes(maxNameBytes)),
			Datacentre:  string(d.bytes(maxNameBytes)),
			Weight:      uint32(d.uvarint(math.MaxUint32)),
			Instance:    d.uvarint(math.MaxUint64),
			Start:       d.uvarint(math.MaxUint64),
			Incarnation: d.uvarint(math.MaxUint64),
			State:       core.State(d.byte()),
		}
		if d.err != nil {
			break
		}
		if err := checkMember(m); err != nil {
			d.fail("%w", err)
			break
		}
		if n := len(members); n > 0 && members[n-1].ID >= m.ID {
			d.fail("%s does not belong after %s", m.ID, members[n-1].ID)
			break
		}
		members = append(members, m)
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	return members, nil
}

func encodeLayouts(l core.LayoutState) []byte {
	b := []byte{formatVersion, byte(l.Phase), byte(len(l.Live))}
	for _, layout := range l.Live {
		b = appendString(b, string(layout.AppendBinary(nil)))
	}
	return b
}

// decodeLayouts returns a state that checkLayouts accepts.
func decodeLayouts(b []byte) (core.LayoutState, error) {
	d := newDecoder(b, layoutsRecord)
	l := core.LayoutState{Phase: core.Phase(d.byte())}
	for range d.byte() {
		encoded := d.bytes(len(b))
		if d.err != nil {
			break
		}
		layout, err := ring.DecodeLayout(encoded)
		if err != nil {
			d.fail("%w", err)
			break
		}
		l.Live = append(l.Live, layout)
	}
	if err := d.end(); err != nil {
		return core.LayoutState{}, err
	}
	if err := checkLayouts(l); err != nil {
		return core.LayoutState{}, fmt.Errorf("%w %q: %w", ErrDamaged, layoutsRecord, err)
	}
	return l, nil
}

// checkLayouts finds what no state of a transition looks like.
func checkLayouts(l core.LayoutState) error {
	switch {
	case len(l.Live) == 1 && l.Phase == core.PhaseDone:
		return nil
	case len(l.Live) == 2 && (l.Phase == core.PhaseCopy || l.Phase == core.PhaseMoved):
	default:
		return fmt.Errorf("%d live layouts in phase %v", len(l.Live), l.Phase)
	}
	older, newer := l.Live[0], l.Live[1]
	if newer.Parent() != older.Name() || newer.Name().Number <= older.Name().Number {
		return fmt.Errorf("layout %v does not follow %v", newer.Name(), older.Name())
	}
	if newer.Partitions() != older.Partitions() {
		return fmt.Errorf("layout %v has %d partitions and %v %d", newer.Name(), newer.Partitions(), older.Name(), older.Partitions())
	}
	return nil
}

// decoder reads a record's parts in turn. After the first fault it reads
// zeros, and end returns the fault.
type decoder struct {
	record string
	b      []byte
	err    error
}

func newDecoder(b []byte, record string) *decoder {
	d := &decoder{record: record, b: b}
	if v := d.byte(); d.err == nil && v != formatVersion {
		d.fail("format version %d; this program reads %d", v, formatVersion)
	}
	return d
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w %q: %w", ErrDamaged, d.record, fmt.Errorf(format, args...))
	}
	d.b = nil
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail("it ends too soon")
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail("it ends within a number, or the number is too long")
		return 0
	}
	if v > most {
		d.fail("%d where at most %d is allowed", v, most)
		return 0
	}
	d.b = d.b[n:]
	return v
}

// bytes shares the record's memory.
func (d *decoder) bytes(most int) []byte {
	n := d.uvarint(uint64(most))
	if uint64(len(d.b)) < n {
		d.fail("it ends too soon")
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) end() error {
	if d.err == nil && len(d.b) > 0 {
		d.fail("%d bytes follow its end", len(d.b))
	}
	return d.err
}

// stored reads one record through decode; found is false where there is none.
func stored[T any](s core.Store, record string, decode func([]byte) (T, error)) (v T, found bool, err error) {
	b, err := s.Get(core.ControlKey(record))
	if errors.Is(err, core.ErrNotFound) {
		return v, false, nil
	}
	if err != nil {
		return v, false, fmt.Errorf("read membership record %q: %w", record, err)
	}
	v, err = decode(b)
	return v, err == nil, err
}
