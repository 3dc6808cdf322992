package antientropy

import (
	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core"
)

// difference is a key that the two nodes do not hold alike.
type difference struct {
	key    []byte
	push   bool // only this node has it; else it is fetched first
	lacked bool // only the peer has it
}

// slot is one key under way.
type slot struct {
	request
	key      []byte
	pushing  bool // it waits for Applied, else for the peer's set
	repaired bool // the key has changed, here or there
}

// exchange begins with the next keys of the queue, as far as the window and the
// slot go.
func (a *AntiEntropy) exchange(now core.Now, out *core.Out) {
	s := a.session
	for i := range s.slots {
		for !s.slots[i].waits {
			if len(s.queue) == 0 || out.Failed != nil || !a.goesOn(now) {
				return
			}
			d := s.queue[0]
			s.queue = s.queue[1:]
			a.gate.Spend(now.Mono, &a.slot, admission.MessageCost)
			s.slots[i] = slot{key: d.key}
			switch {
			case d.push:
				a.push(now, i, out)
			case d.lacked && !a.local.HasRoom(): // it could not be kept
			default:
				a.sendKey(now, i, &core.Read{Key: d.key}, out)
			}
		}
	}
}

func (a *AntiEntropy) sendKey(now core.Now, n int, m core.Message, out *core.Out) {
	s := a.session
	a.send(now, uint32(keySlots+n), &s.slots[n].request, s.walk.partition, m, out)
}

// push sends this node's set, unless the key has gone meanwhile. It need not
// be durable here: it is a set that the peer merges. One that is full is sent
// what may free room.
func (a *AntiEntropy) push(now core.Now, n int, out *core.Out) {
	it := &a.session.slots[n]
	set, _ := a.local.Read(it.key, out)
	if set.IsEmpty() || a.session.peerFull && !set.OnlyTombstones() {
		a.keyDone(n)
		return
	}
	a.gate.Spend(now.Mono, &a.slot, set.Size())
	it.pushing = true
	a.sendKey(now, n, &core.Apply{Key: it.key, Set: set}, out)
}

// fetched merges the peer's set into this node's, and sends back the result
// where the peer lacks something of it.
func (a *AntiEntropy) fetched(now core.Now, n int, m *core.ReadReply, out *core.Out) {
	it := &a.session.slots[n]
	a.gate.Spend(now.Mono, &a.slot, m.Set.Size())
	set, _ := a.local.Read(it.key, out)
	if !set.Covers(m.Set) && !bug.On(bug.RepairOneWay) {
		switch _, why := a.local.Apply(it.key, m.Set, out); why {
		case 0:
			it.repaired = true
			set, _ = a.local.Read(it.key, out)
		case core.RefusedStorageFull: // the peer may lack something all the same
		default:
			a.keyDone(n) // equal dots with different bytes, which Apply has counted
			return
		}
	}
	if m.Set.Covers(set) {
		a.keyDone(n)
		return
	}
	a.push(now, n, out)
}

// keyDone frees a slot.
func (a *AntiEntropy) keyDone(n int) {
	it := &a.session.slots[n]
	if it.repaired {
		a.counts.Repaired++
		a.news = true
	}
	*it = slot{}
}
