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
// cluster-hours, a seed each, from seed 0 on.
type seeded struct {
	bug      bug.Bug
	budget   uint64
	checkers []string
}

// TestSeededBugs proves that the checkers are not vacuous.
func TestSeededBugs(t *testing.T) {
	t.Cleanup(func() { bug.Set(bug.None) })
	list := []seeded{
		{bug.EqualDots, 5, []string{"equal dots", "strict quorum"}},
		{bug.SkipFsyncWait, 40, []string{"lost write"}},
		{bug.SuccessBelowW, 20, []string{"strict quorum"}},
		{bug.ContextCoversUnseen, 10, []string{"context", "lost write"}},
		{bug.GrowWithoutCopy, 40, []string{"strict quorum"}},
		{bug.NeverSuspect, 5, []string{"failure detection"}},
		{bug.TreeSkipsApply, 5, []string{"trees"}},
		{bug.TreeOutlivesWrite, 5, []string{"trees"}},
		{bug.RepairOneWay, 150, []string{"convergence"}},
		{bug.StaleHintAck, 20, []string{"hints"}},
		{bug.CountFallbackTwice, 40, []string{"durable"}},
		{bug.HintWithoutAck, 80, []string{"hints", "lost write", "convergence"}},
		{bug.HintsExpire, 20, []string{"hints", "lost write"}},
		{bug.TwoHintRecords, 20, []string{"equal dots"}},
		{bug.AnswerBeforeRepair, 40, []string{"blocking reads"}},
		{bug.ReapEarly, 40, []string{"resurrection"}},
		{bug.ContinueEpoch, 20, []string{"equal dots"}},
		{bug.NoopAtOnce, 10, []string{"durable"}},
		{bug.ContextNotJoined, 20, []string{"false sibling"}},
		{bug.ReadUndurable, 20, []string{"durable"}},
		{bug.ForwardTwice, 20, []string{"minted twice"}},
		{bug.ServeOldDisk, 40, []string{"old disk"}},
		{bug.ServeBeforeWord, 40, []string{"old disk"}},
		{bug.StoreWhenFull, 5, []string{"room"}},
		{bug.IgnoreBreaker, 5, []string{"breaker"}},
		{bug.NeverClose, 10, []string{"breaker"}},
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

func (s seeded) mustBeCaught(t *testing.T) {
	missing := slices.Clone(s.checkers)
	for seed := range s.budget {
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
