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
	// ReapEarly: a key is forgotten after the first round.
	ReapEarly
	// ReapWithoutOthers: only the owners are asked in the rounds.
	ReapWithoutOthers
	// ReapWithoutSilent: a member that does not answer counts as confirming.
	ReapWithoutSilent
)

// All returns every bug, None excluded.
func All() []Bug {
	return []Bug{
		EqualDots, SkipFsyncWait, SuccessBelowW, ContextCoversUnseen, GrowWithoutCopy,
		ReapEarly, ReapWithoutOthers, ReapWithoutSilent,
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
	case ReapEarly:
		return "reap-early"
	case ReapWithoutOthers:
		return "reap-without-others"
	case ReapWithoutSilent:
		return "reap-without-silent"
	}
	return "unknown bug"
}
