package grpckv

import (
	"bytes"
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/frame"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// Topology answers a single call.
func (s *service) Topology(context.Context, *dynamov1.TopologyRequest) (*dynamov1.TopologyReply, error) {
	st := s.backend.Status()
	if st.Layouts.Reading() == nil {
		return nil, status.Error(codes.Unavailable, "the node does not serve yet: "+st.WaitsFor)
	}
	return topologyOf(st), nil
}

// Watch sends the topology at once, where there is one, and whenever it
// changes, until the client or the node ends it.
func (s *service) Watch(_ *dynamov1.TopologyRequest, stream grpc.ServerStreamingServer[dynamov1.TopologyReply]) error {
	var sent []byte
	var told core.ClusterStatus // of sent
	for {
		changed := s.backend.Changed()
		// Under load the status changes thousands of times a second, and mostly in
		// what is no part of the topology, which is large.
		if st := s.backend.Status(); st.Layouts.Reading() != nil && !sameTopology(&st, &told) {
			told = st
			b, err := topologyOf(st).MarshalVT()
			if err != nil {
				return err
			}
			if !bytes.Equal(b, sent) {
				if err := stream.SendMsg(frame.Of(b)); err != nil {
					return err
				}
				sent = b
			}
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		}
	}
}

// sameTopology says that two statuses of a node give the same topology. What it
// cannot tell at a glance is another one.
func sameTopology(a, b *core.ClusterStatus) bool {
	return a.Cluster == b.Cluster && slices.Equal(a.Layouts.Live, b.Layouts.Live) &&
		a.Layouts.Reading() == b.Layouts.Reading() &&
		slices.EqualFunc(a.Members, b.Members, func(a, b core.MemberStatus) bool {
			return a.ID == b.ID && a.Addr == b.Addr && a.Zone == b.Zone && (a.State == core.Left) == (b.State == core.Left) && a.Status == b.Status
		})
}

// topologyOf returns what clients learn of a status that has a layout. The
// same status gives the same bytes.
func topologyOf(st core.ClusterStatus) *dynamov1.TopologyReply {
	l := st.Layouts.Reading()
	live := st.Layouts.Live
	out := &dynamov1.TopologyReply{
		Cluster:    st.Cluster,
		Layout:     live[len(live)-1].Name().Number,
		Partitions: uint32(l.Partitions()),
		Replicas:   uint32(l.Replicas()),
		Width:      uint32(l.OwnerCount()),
		Owners:     make([]uint32, 0, l.Partitions()*l.OwnerCount()),
	}
	places := make(map[id.Node]uint32, len(st.Members))
	add := func(n *dynamov1.TopologyNode) uint32 {
		place := uint32(len(out.Nodes))
		places[id.Node(n.Id)] = place
		out.Nodes = append(out.Nodes, n)
		return place
	}
	for _, m := range st.Members {
		if m.State != core.Left {
			add(&dynamov1.TopologyNode{
				Id: string(m.ID), Address: m.Addr, Zone: m.Zone, Health: healthOf(m.ID == st.Self, m.Status),
			})
		}
	}
	for p := range l.Partitions() {
		for _, owner := range l.Owners(ring.Partition(p)) {
			place, ok := places[owner]
			if !ok { // an owner whose record this node has not got yet
				place = add(&dynamov1.TopologyNode{Id: string(owner)})
			}
			out.Owners = append(out.Owners, place)
		}
	}
	return out
}

func healthOf(self bool, s core.Status) dynamov1.NodeHealth {
	switch {
	case self || s == core.Alive:
		return dynamov1.NodeHealth_NODE_HEALTH_ALIVE
	case s == core.Suspected:
		return dynamov1.NodeHealth_NODE_HEALTH_SUSPECTED
	case s == core.Dead:
		return dynamov1.NodeHealth_NODE_HEALTH_DEAD
	}
	return dynamov1.NodeHealth_NODE_HEALTH_UNSPECIFIED
}
