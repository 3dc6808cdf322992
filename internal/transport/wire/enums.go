package wire

import (
	"fmt"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
)

// The values of the enums in peer.proto are those of core's constants; a test
// holds the two together. A value beyond the last comes from a newer node.

// enum returns in as its twin in core, which goes up to last.
func enum[C ~uint8, P ~int32](in P, last C) (C, error) {
	if in < 0 || in > P(last) {
		return 0, fmt.Errorf("%w: %T %d", errUnknown, in, in)
	}
	return C(in), nil
}

// named is enum where zero, unspecified, is not a value.
func named[C ~uint8, P ~int32](in P, last C) (C, error) {
	if in == 0 {
		return 0, fmt.Errorf("%T is not set", in)
	}
	return enum(in, last)
}

func phase(in dynamov1.Phase) (core.Phase, error)       { return enum(in, core.PhaseDone) }
func quorum(in dynamov1.Quorum) (core.Quorum, error)    { return enum(in, core.QuorumStrict) }
func outcome(in dynamov1.Outcome) (core.Outcome, error) { return enum(in, core.Unknown) }
func memberState(in dynamov1.State) (core.State, error) { return named(in, core.Left) }
func code(in dynamov1.Code) (core.Code, error)          { return named(in, core.CodeStorageFull) }
func refusal(in dynamov1.Refusal) (core.Refusal, error) { return named(in, core.RefusedStorageFull) }

// writeOp returns the operation of a forward, which only writes.
func writeOp(in dynamov1.Op) (core.Op, error) {
	op, err := named(in, core.OpDelete)
	if err == nil && op == core.OpGet {
		return 0, fmt.Errorf("a forwarded %s; only put and delete are forwarded", op)
	}
	return op, err
}
