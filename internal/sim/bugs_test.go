//go:build simbugs

package sim_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/sim"
)

// seeded is a bug with what must catch it: each of the checkers within budget
// cluster-hours, a seed each.
type seeded struct {
	bug      bug.Bug
	budget   uint64
	checkers []string
	lately   []uint64 // seeds below the budget that caught it when this was written: they are tried first
}

// TestSeededBugs proves that the checkers are not vacuous.
func TestSeededBugs(t *testing.T) {
	t.Cleanup(func() { bug.Set(bug.None) })
	list := []seeded{
		{bug.EqualDots, 5, []string{"equal dots", "strict quorum"}, nil},
		{bug.SkipFsyncWait, 40, []string{"lost write"}, []uint64{2}},
		{bug.SuccessBelowW, 20, []string{"strict quorum"}, []uint64{1}},
		{bug.ContextCoversUnseen, 10, []string{"context", "lost write"}, nil},
		{bug.GrowWithoutCopy, 40, []string{"strict quorum"}, []uint64{3}},
		{bug.NeverSuspect, 5, []string{"failure detection"}, nil},
		{bug.TreeSkipsApply, 5, []string{"trees"}, nil},
		{bug.TreeOutlivesWrite, 5, []string{"trees"}, nil},
		{bug.RepairOneWay, 150, []string{"convergence"}, []uint64{6}},
		{bug.StaleHintAck, 20, []string{"hints"}, nil},
		{bug.CountFallbackTwice, 40, []string{"durable"}, []uint64{2}},
		{bug.HintWithoutAck, 80, []string{"hints", "lost write", "convergence"}, []uint64{3, 7}},
		{bug.HintsExpire, 20, []string{"hints", "lost write"}, []uint64{2}},
		{bug.TwoHintRecords, 20, []string{"equal dots"}, []uint64{10}},
		{bug.AnswerBeforeRepair, 40, []string{"blocking reads"}, nil},
		{bug.ReapEarly, 40, []string{"resurrection"}, nil},
		{bug.ContinueEpoch, 20, []string{"equal dots"}, nil},
		{bug.NoopAtOnce, 10, []string{"durable"}, nil},
		{bug.ContextNotJoined, 20, []string{"false sibling"}, []uint64{7}},
		{bug.ReadUndurable, 20, []string{"durable"}, []uint64{2}},
		{bug.ForwardTwice, 20, []string{"minted twice"}, []uint64{1}},
		{bug.ServeOldDisk, 40, []string{"old disk"}, []uint64{2}},
		{bug.ServeBeforeWord, 40, []string{"old disk"}, []uint64{2}},
		{bug.StoreWhenFull, 5, []string{"room"}, nil},
		{bug.IgnoreBreaker, 5, []string{"breaker"}, nil},
		{bug.NeverClose, 10, []string{"breaker"}, []uint64{1}},
	}
	// A bug that needs a rarer chain of events than a budget can wait for has a
	// named scenario instead: docs/testing.md says where.
	scenarios := []bug.Bug{
		bug.EpochFromMerge, bug.PruneKeepsActor, bug.OverwriteOwnDot,
		bug.PullFromOne, bug.IgnoreStamp, bug.RetireAtOnce, bug.SyncedByNumber,
		bug.ReapWithoutOthers, bug.ReapWithoutSilent, // found at seeds 122 and 153: too far for every check
		bug.ReapVolatile, bug.SecondRoundAtOnce, bug.TokensOutliveChanges, bug.OldMessages,
	}
	for _, b := range bug.All() {
		if !slices.Contains(scenarios, b) && !slices.ContainsFunc(list, func(s seeded) bool { return s.bug == b }) {
			t.Errorf("%v is not on the list", b)
		}
	}
	for _, s := range list {
		t.Run(s.bug.String(), func(t *testing.T) {
			bug.Set(s.bug)
			s.mustBeCaught(t)
		})
	}
}

// seeds returns those that may be spent, in the order in which they are tried.
func (s seeded) seeds() []uint64 {
	all := slices.Clone(s.lately)
	for seed := range s.budget {
		if !slices.Contains(s.lately, seed) {
			all = append(all, seed)
		}
	}
	return all
}

func (s seeded) mustBeCaught(t *testing.T) {
	missing := slices.Clone(s.checkers)
	for _, seed := range s.seeds() {
		r := sim.Run(sim.NewPlan(seed, time.Hour), nil)
		missing = slices.DeleteFunc(missing, func(checker string) bool {
			i := slices.IndexFunc(r.Violations, func(v sim.Violation) bool { return v.Checker == checker })
			if i >= 0 {
				t.Logf("seed %d: %v", seed, r.Violations[i])
			}
			return i >= 0
		})
		if len(missing) == 0 {
			return
		}
	}
	t.Errorf("%v was not caught by %s within %d cluster-hours", s.bug, strings.Join(missing, ", "), s.budget)
}
