package httpjson

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/transport/wire"
)

// membersOf returns the members of a status as they are told at a time.
func membersOf(st *core.ClusterStatus, at time.Time) []Member {
	tokens := tokensOf(st.Layouts)
	out := make([]Member, len(st.Members))
	for i := range st.Members {
		m := &st.Members[i]
		out[i] = memberOf(&m.Member)
		out[i].Status = m.Status.String()
		out[i].Timestamp = Time{at.UTC()}
		if owned := tokens[m.ID]; owned != nil {
			out[i].Tokens = owned
		}
	}
	return out
}

// tokensOf returns the partitions of each owner in the newest layout, ascending.
func tokensOf(layouts core.LayoutState) map[id.Node][]uint32 {
	if len(layouts.Live) == 0 {
		return nil
	}
	newest := layouts.Live[len(layouts.Live)-1]
	tokens := make(map[id.Node][]uint32, len(newest.Members()))
	for p := range newest.Partitions() {
		for _, n := range newest.Owners(ring.Partition(p)) {
			tokens[n] = append(tokens[n], uint32(p))
		}
	}
	return tokens
}

// memberOf returns a member's record: memberOf and record change nothing.
func memberOf(m *core.Member) Member {
	return Member{
		NodeID: string(m.ID), Address: m.Addr, Heartbeat: m.Heartbeat, Tokens: []uint32{},
		Record: &Record{
			Zone: m.Zone, Datacentre: m.Datacentre, Weight: m.Weight,
			Instance: digits(m.Instance), Start: digits(m.Start),
			Incarnation: m.Incarnation, Changed: m.Changed, State: m.State.String(),
			Layout: layoutOf(m.Stamp.Layout), Phase: m.Stamp.Phase.String(), Synced: layoutOf(m.Synced),
		},
	}
}

func layoutOf(n ring.Name) Layout { return Layout{Number: n.Number, Digest: digits(n.Digest)} }

// record returns the member's record, checked as those of the stream are.
func (m *Member) record() (out core.Member, err error) {
	if out.ID, err = id.ParseNode(m.NodeID); err != nil {
		return out, err
	}
	r := m.Record
	if r == nil {
		return out, fmt.Errorf("member %s has no record", m.NodeID)
	}
	out.Addr, out.Heartbeat = m.Address, m.Heartbeat
	out.Zone, out.Datacentre, out.Weight = r.Zone, r.Datacentre, r.Weight
	out.Incarnation, out.Changed = r.Incarnation, r.Changed
	if err := checkRecord(&out); err != nil {
		return out, fmt.Errorf("member %s: %w", m.NodeID, err)
	}
	if out.State, err = named("state", r.State, core.Joining, core.Left); err != nil {
		return out, fmt.Errorf("member %s: %w", m.NodeID, err)
	}
	if out.Stamp.Phase, err = named("phase", r.Phase, core.PhaseNone, core.PhaseDone); err != nil {
		return out, fmt.Errorf("member %s: %w", m.NodeID, err)
	}
	out.Stamp.Layout.Number, out.Synced.Number = r.Layout.Number, r.Synced.Number
	for _, n := range []struct {
		what, digits string
		to           *uint64
	}{
		{"instance", r.Instance, &out.Instance},
		{"start", r.Start, &out.Start},
		{"the digest of layout", r.Layout.Digest, &out.Stamp.Layout.Digest},
		{"the digest of synced", r.Synced.Digest, &out.Synced.Digest},
	} {
		if *n.to, err = parseDigits(n.what, n.digits, 0); err != nil {
			return out, fmt.Errorf("member %s: %w", m.NodeID, err)
		}
	}
	return out, nil
}

// checkRecord checks what people gave a member.
func checkRecord(m *core.Member) error {
	for _, text := range []struct {
		what, is string
		least    int
		most     int
	}{
		{"address", m.Addr, 1, wire.MaxAddrBytes},
		{"zone", m.Zone, 0, ring.MaxZoneBytes},
		{"datacentre", m.Datacentre, 0, ring.MaxZoneBytes},
	} {
		if n := len(text.is); n < text.least || n > text.most || !utf8.ValidString(text.is) {
			return fmt.Errorf("the %s has %d bytes; UTF-8 of %d to %d is allowed", text.what, n, text.least, text.most)
		}
	}
	if m.Weight == 0 {
		return fmt.Errorf("the weight is 0; at least 1 is allowed")
	}
	return nil
}

// named returns the value from first to last that prints as s.
func named[T interface {
	~uint8
	String() string
}](what, s string, first, last T,
) (T, error) {
	for v := first; v <= last; v++ {
		if v.String() == s {
			return v, nil
		}
	}
	known := make([]string, 0, last-first+1)
	for v := first; v <= last; v++ {
		known = append(known, v.String())
	}
	return 0, fmt.Errorf("the %s %q is not known; %s are allowed", what, excerpt(s), strings.Join(known, ", "))
}
