package bug

// Bug is one seeded mistake.
type Bug int

// The bugs. None is no bug at all.
const (
	None Bug = iota
	// EqualDots: a mint does not raise the counter, so that the new dot equals
	// one that was minted before.
	EqualDots
	// SkipFsyncWait: acknowledgements leave before the state is durable.
	SkipFsyncWait
	// SuccessBelowW: a coordinator answers when W-1 replicas are durable.
	SuccessBelowW
	// ContextCoversUnseen: the context of a put is the whole stored clock and
	// so covers siblings that its caller has not read.
	ContextCoversUnseen
	// GrowWithoutCopy: a new owner reports that it is synced without pulling.
	GrowWithoutCopy
	// NeverSuspect: failure detection holds everybody for alive.
	NeverSuspect
	// TreeSkipsApply: a hash tree is not told of what peers' sets change.
	TreeSkipsApply
	// TreeOutlivesWrite: a saved hash tree stays on the disk when its
	// partition is written to.
	TreeOutlivesWrite
	// RepairOneWay: an exchange pushes what the peer lacks and does not take
	// what the peer has.
	RepairOneWay
	// StaleHintAck: an owner's acknowledgement of an older set removes a hint
	// that has changed since.
	StaleHintAck
	// CountFallbackTwice: a fallback counts toward W for two owners.
	CountFallbackTwice
	// HintWithoutAck: a hint is removed when it is sent.
	HintWithoutAck
	// HintsExpire: hints that hold data grow too old, as markers do.
	HintsExpire
	// TwoHintRecords: a hint loses its siblings with one of its owners, and
	// goes on with its actor.
	TwoHintRecords
	// EpochFromMerge: a record that a merge has made goes on with an actor that
	// its clock shows.
	EpochFromMerge
	// ReapEarly: a key is forgotten after the first round.
	ReapEarly
	// ReapWithoutOthers: only the owners are asked in the rounds.
	ReapWithoutOthers
	// ReapWithoutSilent: a member that does not answer counts as confirming.
	ReapWithoutSilent
	// AnswerBeforeRepair: a blocking read answers when R owners have answered
	// it, whether or not they hold what it returns.
	AnswerBeforeRepair
)

// All returns every bug, None excluded.
func All() []Bug {
	return []Bug{
		EqualDots, SkipFsyncWait, SuccessBelowW, ContextCoversUnseen, GrowWithoutCopy, NeverSuspect,
		TreeSkipsApply, TreeOutlivesWrite, RepairOneWay,
		StaleHintAck, CountFallbackTwice, HintWithoutAck, HintsExpire, TwoHintRecords, EpochFromMerge,
		ReapEarly, ReapWithoutOthers, ReapWithoutSilent,
		AnswerBeforeRepair,
	}
}

// String returns the bug's name as reports show it.
func (b Bug) String() string {
	switch b {
	case None:
		return "none"
	case EqualDots:
		return "equal-dots"
	case SkipFsyncWait:
		return "skip-fsync-wait"
	case SuccessBelowW:
		return "success-below-w"
	case ContextCoversUnseen:
		return "context-covers-unseen"
	case GrowWithoutCopy:
		return "grow-without-copy"
	case NeverSuspect:
		return "never-suspect"
	case TreeSkipsApply:
		return "tree-skips-apply"
	case TreeOutlivesWrite:
		return "tree-outlives-write"
	case RepairOneWay:
		return "repair-one-way"
	case StaleHintAck:
		return "stale-hint-ack"
	case CountFallbackTwice:
		return "count-fallback-twice"
	case HintWithoutAck:
		return "hint-without-ack"
	case HintsExpire:
		return "hints-expire"
	case TwoHintRecords:
		return "two-hint-records"
	case EpochFromMerge:
		return "epoch-from-merge"
	case ReapEarly:
		return "reap-early"
	case ReapWithoutOthers:
		return "reap-without-others"
	case ReapWithoutSilent:
		return "reap-without-silent"
	case AnswerBeforeRepair:
		return "answer-before-repair"
	}
	return "unknown bug"
}
