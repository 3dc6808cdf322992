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
	// AnswerBeforeRepair: a blocking read answers when R owners have answered
	// it, whether or not they hold what it returns.
	AnswerBeforeRepair
	// ReapEarly: a key is forgotten after the first round.
	ReapEarly
	// ReapWithoutOthers: only the owners are asked in the rounds.
	ReapWithoutOthers
	// ReapWithoutSilent: a member that does not answer counts as confirming.
	ReapWithoutSilent
	// ReapVolatile: what is not durable is confirmed.
	ReapVolatile
	// SecondRoundAtOnce: the second round does not wait for the TTL after the
	// first.
	SecondRoundAtOnce
	// StoreWhenFull: a node takes what needs room though it has none left.
	StoreWhenFull
	// TokensOutliveChanges: a token stands though its key has changed.
	TokensOutliveChanges
	// OldMessages: messages are taken however old they are.
	OldMessages
	// ContinueEpoch: a start of the process goes on with the epochs on its disk.
	ContinueEpoch
	// PruneKeepsActor: a record whose own clock entry is pruned goes on with its
	// actor.
	PruneKeepsActor
	// NoopAtOnce: an apply that changes nothing is acknowledged though what it
	// found is not durable.
	NoopAtOnce
	// ContextNotJoined: a write drops what its context covers and does not join
	// the context into the clock.
	ContextNotJoined
	// OverwriteOwnDot: an Overwrite's context is its own dot alone.
	OverwriteOwnDot
	// ReadUndurable: a read does not wait for what it shows to be durable.
	ReadUndurable
	// ForwardTwice: a forward is executed as often as it comes.
	ForwardTwice
	// PullFromOne: a new owner pulls from one old owner, whatever W is.
	PullFromOne
	// IgnoreStamp: requests by older layouts and phases are served.
	IgnoreStamp
	// RetireAtOnce: writes leave the old layout before its owners have confirmed
	// that they refuse reads.
	RetireAtOnce
	// SyncedByNumber: synced counts for every layout of the same number.
	SyncedByNumber
	// ServeOldDisk: a disk is served however long ago it was stamped.
	ServeOldDisk
	// ServeBeforeWord: a node whose disk is doubted serves until it hears that it
	// is an old copy.
	ServeBeforeWord
	// IgnoreBreaker: peers are called though their breakers are open.
	IgnoreBreaker
	// NeverClose: a breaker that has opened stays open however its probes are
	// answered.
	NeverClose
)

// All returns every bug, None excluded.
func All() []Bug {
	return []Bug{
		EqualDots, SkipFsyncWait, SuccessBelowW, ContextCoversUnseen, GrowWithoutCopy, NeverSuspect,
		TreeSkipsApply, TreeOutlivesWrite, RepairOneWay,
		StaleHintAck, CountFallbackTwice, HintWithoutAck, HintsExpire, TwoHintRecords, EpochFromMerge,
		AnswerBeforeRepair,
		ReapEarly, ReapWithoutOthers, ReapWithoutSilent, ReapVolatile, SecondRoundAtOnce, StoreWhenFull, TokensOutliveChanges, OldMessages,
		ContinueEpoch, PruneKeepsActor, NoopAtOnce, ContextNotJoined, OverwriteOwnDot, ReadUndurable, ForwardTwice,
		PullFromOne, IgnoreStamp, RetireAtOnce, SyncedByNumber, ServeOldDisk, ServeBeforeWord,
		IgnoreBreaker, NeverClose,
	}
}

// String returns the bug's name as reports show it.
func (b Bug) String() string {
	names := [...]string{
		None:                 "none",
		EqualDots:            "equal-dots",
		SkipFsyncWait:        "skip-fsync-wait",
		SuccessBelowW:        "success-below-w",
		ContextCoversUnseen:  "context-covers-unseen",
		GrowWithoutCopy:      "grow-without-copy",
		NeverSuspect:         "never-suspect",
		TreeSkipsApply:       "tree-skips-apply",
		TreeOutlivesWrite:    "tree-outlives-write",
		RepairOneWay:         "repair-one-way",
		StaleHintAck:         "stale-hint-ack",
		CountFallbackTwice:   "count-fallback-twice",
		HintWithoutAck:       "hint-without-ack",
		HintsExpire:          "hints-expire",
		TwoHintRecords:       "two-hint-records",
		EpochFromMerge:       "epoch-from-merge",
		AnswerBeforeRepair:   "answer-before-repair",
		ReapEarly:            "reap-early",
		ReapWithoutOthers:    "reap-without-others",
		ReapWithoutSilent:    "reap-without-silent",
		ReapVolatile:         "reap-volatile",
		SecondRoundAtOnce:    "second-round-at-once",
		StoreWhenFull:        "store-when-full",
		TokensOutliveChanges: "tokens-outlive-changes",
		OldMessages:          "old-messages",
		ContinueEpoch:        "continue-epoch",
		PruneKeepsActor:      "prune-keeps-actor",
		NoopAtOnce:           "noop-at-once",
		ContextNotJoined:     "context-not-joined",
		OverwriteOwnDot:      "overwrite-own-dot",
		ReadUndurable:        "read-undurable",
		ForwardTwice:         "forward-twice",
		PullFromOne:          "pull-from-one",
		IgnoreStamp:          "ignore-stamp",
		RetireAtOnce:         "retire-at-once",
		SyncedByNumber:       "synced-by-number",
		ServeOldDisk:         "serve-old-disk",
		ServeBeforeWord:      "serve-before-word",
		IgnoreBreaker:        "ignore-breaker",
		NeverClose:           "never-close",
	}
	if b < 0 || int(b) >= len(names) {
		return "unknown bug"
	}
	return names[b]
}
