package coordinator

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/quorum"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// reportRepairsEach is how often Control hears of repairs: they are for
// people, and reads are many.
const reportRepairsEach = time.Second

// maxRepairs bounds the reads that are answered and still have their slots: they
// must not crowd out the writes that await their last owners, which share
// maxBackground. One of them lasts for two timeouts at most.
const maxRepairs = 1024

// repairs bounds and counts the repairs of a shard.
type repairs struct {
	open     int    // reads that are answered and have not ended
	held     uint64 // bytes that reads which are answered keep for their repairs
	now      core.RepairReport
	told     core.RepairReport
	reported time.Duration
}

// Repairs returns the counts since the start, and whether Control is to hear
// of them now; the caller tells it then.
func (c *Coordinator) Repairs(now core.Now) (r core.RepairReport, news bool) {
	if c.RepairsDue() <= now.Mono {
		c.repairs.told, c.repairs.reported = c.repairs.now, now.Mono
		news = true
	}
	return c.repairs.told, news
}

// RepairCounts returns the counts since the start.
func (c *Coordinator) RepairCounts() core.RepairReport { return c.repairs.now }

// RepairsDue returns when Control is to hear of the counts, core.Never where it
// knows them.
func (c *Coordinator) RepairsDue() time.Duration {
	if c.repairs.now == c.repairs.told {
		return core.Never
	}
	return c.repairs.reported + reportRepairsEach
}

// repairLater begins what follows the answer of a read: the owners that are
// still to answer are awaited, then each that has answered with less than all
// of them together know gets that, once. Most reads end here, since all have
// answered alike.
func (c *Coordinator) repairLater(now core.Now, s *slot, out *core.Out) {
	s.stage, s.hedge = repairing, core.Never
	behind := 0
	for i := range s.peers {
		t := &s.peers[i]
		switch {
		case t.state == asked && t.owner == "":
			// It is awaited, but not asked again.
		case t.state != done:
			t.state = failed
		case c.behind(s, t):
			behind++
		}
	}
	if c.behindHere(s) {
		behind++
	}
	if behind == 0 && !s.awaitsReads() {
		c.finish(now, s, core.Result{}, out)
		return
	}
	if !c.admitRepair(s) {
		c.repairs.now.Dropped += uint64(behind)
		c.finish(now, s, core.Result{}, out)
		return
	}
	s.deadline = c.repairDeadline(now, s)
	c.settleLater(now, s, out)
}

// admitRepair says whether a read may keep what it has found for repairs, and
// takes the room that they need: a set for each owner. One read is always let
// in, however large its set; what is not, anti-entropy repairs. They hold no slot
// of background work: there are no more of them than reads.
func (c *Coordinator) admitRepair(s *slot) bool {
	if c.config.RepairBytes == 0 {
		return false
	}
	need := uint64(len(s.peers)+1) * uint64(len(s.key)+s.merged.Size())
	if c.repairs.open >= maxRepairs || c.background > maxBackground ||
		c.repairs.held > 0 && c.repairs.held+need > c.config.RepairBytes {
		c.counters.Limits[core.LimitRepairs]++
		return false
	}
	s.held = need
	c.repairs.open++
	c.repairs.held += need
	return true
}

// ended gives back what a read's repairs have taken, and counts those that
// have failed. A blocking read that is answered awaits nobody any more.
func (r *repairs) ended(now core.Now, s *slot) {
	if s.held > 0 {
		r.open--
		r.held -= s.held
	}
	if s.stage != repairing {
		return
	}
	late := s.deadline <= now.Mono
	for i := range s.peers {
		if t := &s.peers[i]; t.repair && (t.state == failed || late && t.state != done) {
			r.now.Failed++
		}
	}
}

// repairDeadline is when a repair is given up: it is one try. A message made
// from a request's state must not be younger than the request may live.
func (c *Coordinator) repairDeadline(now core.Now, s *slot) time.Duration {
	return min(now.Mono+c.config.PeerTimeout, s.began+id.MaxMessageAge)
}

// behind says whether a node has answered a read as the owner that it is, with
// less than all answers say together.
func (c *Coordinator) behind(s *slot, t *try) bool {
	return t.state == done && t.owner == "" && !t.seen.Covers(s.merged)
}

// behindHere says the same of this node's own copy. What it has stored since
// the read began does not count yet: a set that is merged twice is the same.
func (c *Coordinator) behindHere(s *slot) bool {
	return s.local == done && c.ownsRead(s) && !s.own.Covers(s.merged)
}

// ownsRead says whether this node owns the key in the layout that reads go by.
func (c *Coordinator) ownsRead(s *slot) bool {
	return c.view.ReadLayout().Owns(c.config.Self, s.partition)
}

// awaitsReads says whether a node that was asked to read may still answer.
func (s *slot) awaitsReads() bool {
	if s.local == asked {
		return true
	}
	for i := range s.peers {
		if s.peers[i].state == asked {
			return true
		}
	}
	return false
}

// settleLater sends the repairs of a read that is answered once nobody is
// awaited any more, and lets go of the slot when they are through.
func (c *Coordinator) settleLater(now core.Now, s *slot, out *core.Out) {
	if s.awaitsReads() {
		return
	}
	if !s.repaired {
		s.repaired = true
		s.deadline = c.repairDeadline(now, s)
		c.sendRepairs(now, s, out)
	}
	if !s.awaitsReads() {
		c.finish(now, s, core.Result{}, out)
	}
}

// sendRepairs sends every owner that is behind what the read has found.
//
// It gets the whole merged set, never a part of it. Only the set says by its
// clock which versions are replaced, and a clock without a version that it
// covers says that this one is replaced: a set that left out the versions that
// the owner has already would make it drop them, and a clock without exactly
// those dots has mostly no short form. Merging the whole set is right whatever
// the owner holds by then, since merges commute, and it may be repeated. All
// of the set was durable at some node when it answered.
func (c *Coordinator) sendRepairs(now core.Now, s *slot, out *core.Out) {
	for i := range s.peers {
		if t := &s.peers[i]; c.behind(s, t) {
			c.ask(now, s, t, out)
		}
	}
	if c.behindHere(s) {
		c.repairHere(s, out)
	}
}

// repairHere merges what the read has found into this node's own copy.
func (c *Coordinator) repairHere(s *slot, out *core.Out) {
	flush, why := c.local.Apply(s.key, s.merged, out)
	if why != 0 {
		s.local = failed
		c.repairs.now.Failed++
		return
	}
	if !s.own.Covers(s.merged) {
		c.repairs.now.Own++
	}
	c.awaitLocal(s, flush)
}

// repairFirst begins what a blocking read does before its answer: R distinct
// owners must hold durably what it is going to return. Those that answered
// with all of it do already; the others that answered are sent it.
func (c *Coordinator) repairFirst(now core.Now, s *slot, out *core.Out) {
	s.stage, s.hedge = repairing, core.Never
	flushing := s.local == asked && c.ownsRead(s)
	c.sendRepairs(now, s, out)
	if flushing { // it is not in what was merged, but may have all of it soon
		c.repairHere(s, out)
	}
	s.repaired = true
	if c.tallyHeld(s).Verdict() != quorum.Won {
		c.repairs.now.Waited++
	}
	c.settleFirst(now, s, out)
}

// settleFirst answers a blocking read once R owners hold what it returns, or
// cannot any more. Where one that was sent it fails, another owner gets it.
func (c *Coordinator) settleFirst(now core.Now, s *slot, out *core.Out) {
	for {
		t := c.tallyHeld(s)
		switch t.Verdict() {
		case quorum.Won:
			c.countQuorum(core.QuorumRepair, quorum.Won, 0)
			c.finish(now, s, c.found(s, t, 0), out)
			return
		case quorum.Lost:
			c.countQuorum(core.QuorumRepair, quorum.Lost, 0)
			c.finish(now, s, core.Result{Code: core.CodeQuorum, Outcome: core.NotWritten, Acknowledged: t.Yes, Required: t.Need}, out)
			return
		case quorum.Pending:
		}
		next := s.next()
		if next == nil || c.expectsHeld(s) >= t.Need {
			return
		}
		c.ask(now, s, next, out)
	}
}

// tallyHeld counts the owners that hold what a blocking read returns.
func (c *Coordinator) tallyHeld(s *slot) quorum.Tally {
	l := c.view.ReadLayout()
	owners := l.Owners(s.partition)
	t := quorum.Tally{Need: c.need(s, l), Total: len(owners)}
	for _, owner := range owners {
		switch s.state(c.config.Self, owner) {
		case done:
			t.Yes++
		case failed:
			t.No++
		case idle, asked, waiting, stale, avoided:
		}
	}
	return t
}

// expectsHeld counts the owners that hold it or may soon.
func (c *Coordinator) expectsHeld(s *slot) int {
	n := 0
	if c.ownsRead(s) && (s.local == asked || s.local == done) {
		n++
	}
	for i := range s.peers {
		if st := s.peers[i].state; st == asked || st == done {
			n++
		}
	}
	return n
}

// answeredLate takes the answer of an owner to a read that is decided.
func (c *Coordinator) answeredLate(now core.Now, s *slot, t *try, set version.Siblings, out *core.Out) {
	switch {
	case t.state != asked:
	case s.answered && !s.repaired:
		t.state, t.seen = done, set
		if !c.merge(s, set) {
			t.state = failed
		}
	case set.Covers(s.merged):
		t.state = done
	case !s.answered && !t.repair:
		c.ask(now, s, t, out) // what else it has, a later read will find
	}
}

// repairAnew goes on after a change of the layouts. Repairs in the background
// end, since the owners may be others; a blocking read starts over.
func (c *Coordinator) repairAnew(now core.Now, s *slot, out *core.Out) {
	if c.view.ReadLayout().Name() == s.layout {
		return
	}
	if s.answered {
		c.finish(now, s, core.Result{}, out)
		return
	}
	s.repaired = false
	c.beginAnew(now, s, out)
}
