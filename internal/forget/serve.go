package forget

import (
	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// Serve answers the reaper of a partition. The caller has checked its cluster
// and deadline, and that its stamp is not older than this node's.
func (f *Forget) Serve(now core.Now, e *core.Envelope, out *core.Out) {
	var answer core.Message
	switch m := e.Msg.(type) {
	case *core.Confirm:
		if why := f.refuse(e, m.Members, m.Keys); why != 0 {
			answer = &core.Refused{Why: why}
			break
		}
		answer = &core.Confirmed{Except: f.confirm(now, e.Partition, m.Round, m.Again, m.Keys, out)}
	case *core.Forget:
		if why := f.refuse(e, m.Members, m.Keys); why != 0 {
			answer = &core.Refused{Why: why}
			break
		}
		answer = &core.Forgotten{Except: f.forget(e.Partition, m.Round, m.Keys, out)}
	}
	if out.Failed == nil {
		out.Sends = append(out.Sends, f.view.Answer(e, now.Mono+answerTimeout, answer))
	}
}

// refuse says why a reaper's request is not answered, 0 where it is.
func (f *Forget) refuse(e *core.Envelope, members uint64, keys []core.KeyDigest) core.Refusal {
	switch l := f.layout; {
	case l == nil || e.Stamp != f.view.Stamp() || members != f.members:
		return core.RefusedBehind
	case int(e.Partition) >= l.Partitions() || len(keys) > core.MaxForgetKeys:
		return core.RefusedInvalid
	case l.Owners(e.Partition)[0] != e.From:
		return core.RefusedNotOwner
	}
	for i := range keys {
		if f.layout.Partition(keys[i].Key) != e.Partition {
			return core.RefusedInvalid
		}
	}
	return 0
}

// confirm returns the keys that this node does not confirm. What is not durable
// yet is not confirmed: a crash could take it back (scenario reap-volatile).
func (f *Forget) confirm(now core.Now, p ring.Partition, round uint64, again bool, keys []core.KeyDigest, out *core.Out) (except []uint32) {
	if !again && f.tokens.open(now.Mono, p, round, lastsTTLs*f.config.TTL) {
		f.takeTokens(p, round, keys, out)
	}
	for i := range keys {
		if !f.tokens.stands(p, ring.Hash(keys[i].Key), round) {
			except = append(except, uint32(i))
		}
	}
	return except
}

// takeTokens gives a token for each key of which this node holds what it
// should: as an owner that very set, otherwise nothing.
func (f *Forget) takeTokens(p ring.Partition, round uint64, keys []core.KeyDigest, out *core.Out) {
	owner := f.layout.Owns(f.config.Self, p)
	if !owner && f.holdsNothing(p, out) {
		f.tokens.takeAll(p, round)
		return
	}
	var without []ring.Position
	for i := range keys {
		key := keys[i].Key
		at := ring.Hash(key)
		if !owner && f.tokens.stands(p, at, round) {
			continue // nothing has come for it since nothing was held at all
		}
		set, flush := f.local.Read(key, out)
		right := owner && digestOf(set) == keys[i].Digest && forgettable(set) || !owner && set.IsEmpty()
		hint, hintFlush := f.local.HoldsHint(key, out)
		volatile := max(flush, hintFlush) != 0 && !bug.On(bug.ReapVolatile)
		if hint || volatile || !right || !f.tokens.take(at, round) {
			without = append(without, at)
		}
	}
	for _, at := range without { // another key at that position may have taken it
		f.tokens.drop(at, round)
	}
}

// holdsNothing says that this node holds nothing for any key of p.
func (f *Forget) holdsNothing(p ring.Partition, out *core.Out) bool {
	first, last := f.layout.Range(p)
	if held, flush := f.local.HoldsHints(first, last, out); held || flush != 0 {
		return false
	}
	held, flush := f.local.Holds(first, last, out)
	return !held && flush == 0
}

// forget removes or prunes the keys whose tokens stand and whose sets are
// unchanged and durable, and returns the others.
func (f *Forget) forget(p ring.Partition, round uint64, keys []core.KeyDigest, out *core.Out) (except []uint32) {
	owner := f.layout.Owns(f.config.Self, p)
	for i := range keys {
		if !owner || !f.tokens.stands(p, ring.Hash(keys[i].Key), round) || !f.forgetKey(keys[i], out) {
			except = append(except, uint32(i))
		}
	}
	return except
}

func (f *Forget) forgetKey(k core.KeyDigest, out *core.Out) bool {
	set, flush := f.local.Read(k.Key, out)
	if flush != 0 || digestOf(set) != k.Digest {
		return false
	}
	if set.OnlyTombstones() {
		removed := f.local.Remove(k.Key, set, out)
		if removed {
			f.progress.Reaped++
		}
		return removed
	}
	pruned := f.local.Prune(k.Key, set, out)
	f.progress.Pruned += uint64(pruned)
	return pruned > 0
}
