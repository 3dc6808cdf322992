package membership

import (
	"fmt"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

// Stored is what a node's store holds of its membership, for whoever looks at a
// store from outside.
type Stored struct {
	Cluster     uint64 // 0: it has joined none yet
	Incarnation uint64
	Members     []core.Member // by ascending ID
	Layouts     core.LayoutState
	Stamp       uint64             // of its disk, Unix nanoseconds; 0: none
	Remembers   map[id.Node]uint64 // the stamps of the other members' disks
}

// Take reads one of the control records into s. Its error says that the record
// is damaged, or none that this program knows; a node does not start with it.
func (s *Stored) Take(name string, value []byte) (err error) {
	switch name {
	case identityRecord:
		var i identity
		i, err = decodeIdentity(value)
		s.Cluster, s.Incarnation = i.cluster, i.incarnation
	case membersRecord:
		s.Members, err = decodeMembers(value)
	case layoutsRecord:
		s.Layouts, err = decodeLayouts(value)
	case stampsRecord:
		var d diskStamps
		d, err = decodeStamps(value)
		s.Stamp, s.Remembers = d.own, make(map[id.Node]uint64, len(d.peers))
		for _, p := range d.peers {
			s.Remembers[p.node] = p.stamp
		}
	default:
		return fmt.Errorf("the control record %q is none that this program knows: a newer one has written it, start that", name)
	}
	return err
}
