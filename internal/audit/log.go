package audit

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/dynamo-kv/dynamo/internal/version"
)

// Outcome is what a client knows of what became of its operation.
type Outcome uint8

// The outcomes of an operation. One that never ends stays Unknown.
const (
	Unknown    Outcome = iota
	Done               // a write is written, a read has found what there is
	NotWritten         // the client was told that no replica has it or will
)

// Log is what clients of real nodes did and were told. The order of the calls
// that record it is its clock: an operation whose end was recorded before the
// beginning of another had ended before that one began. It is not safe for
// concurrent use.
//
// Writes name what they have seen by the operation that gave it to them.
// Overwrites have no place in it: what one has replaced no client knows.
type Log struct {
	n     int    // nodes that hold each key
	seed  uint64 // of the write IDs
	now   int
	held  int // strict reads that had writes to find
	ops   []*Op
	keys  []*entries
	byKey map[string]*entries // looked up by key only
}

// entries are the operations on one key, as they began.
type entries struct {
	key string
	ops []*Op
}

// Op is one operation of a client on one key.
type Op struct {
	Key    string
	ID     version.WriteID // of a write; a retry sends it again
	Value  []byte          // of a put
	Write  bool
	Remove bool // the write is a delete
	Quorum int  // R or W
	Strict bool // only owners count

	number  int // among all operations
	at      int // among those on its key
	from    *Op // that gave the context which a write was sent with
	began   int
	ended   int // 0: it has not
	outcome Outcome
	clock   version.Clock // of the context that it was given
	values  [][]byte      // that a read has shown
}

// NewLog returns an empty log of a cluster that holds each key at n nodes.
// The seed tells its write IDs from those of other logs.
func NewLog(n int, seed uint64) *Log {
	return &Log{n: n, seed: seed, byKey: make(map[string]*entries)}
}

// Read records that a read begins.
func (l *Log) Read(key string, r int, strict bool) *Op {
	return l.begin(&Op{Key: key, Quorum: r, Strict: strict})
}

// Put records that a put begins, which sends the context that from was given,
// none where that is nil.
func (l *Log) Put(key string, from *Op, w int, strict bool, padding int) *Op {
	o := l.begin(&Op{Key: key, Write: true, from: from, Quorum: w, Strict: strict})
	o.Value = NewValue(o.number, []byte(key), padding)
	return o
}

// Delete records that a delete begins, which sends the context of from.
func (l *Log) Delete(key string, from *Op, w int, strict bool) *Op {
	return l.begin(&Op{Key: key, Write: true, Remove: true, from: from, Quorum: w, Strict: strict})
}

// Draw records that an operation begins of the kinds that clients mix: half are
// reads; most writes send the context of the client's last read or write of the
// key, some of them are deletes, and some have seen nothing. A third is strict.
func (l *Log) Draw(rng *rand.Rand, key string, last *Op, quorum int) *Op {
	strict := rng.IntN(3) == 0
	switch n := rng.IntN(100); {
	case n < 50:
		return l.Read(key, quorum, strict)
	case n < 88 && last != nil:
		return l.Put(key, last, quorum, strict, rng.IntN(300))
	case n < 94 && last != nil:
		return l.Delete(key, last, quorum, strict)
	}
	return l.Put(key, nil, quorum, strict, rng.IntN(300))
}

func (l *Log) begin(o *Op) *Op {
	l.now++
	o.number, o.began = len(l.ops), l.now
	if o.Write {
		binary.BigEndian.PutUint64(o.ID[:8], l.seed)
		binary.BigEndian.PutUint64(o.ID[8:], uint64(o.number)+1)
	}
	l.ops = append(l.ops, o)
	k := l.byKey[o.Key]
	if k == nil {
		k = &entries{key: o.Key}
		l.keys, l.byKey[o.Key] = append(l.keys, k), k
	}
	o.at = len(k.ops)
	k.ops = append(k.ops, o)
	return o
}

// Found records that a read has ended, with the live values that it shows,
// of which there may be none, and the clock of its context.
func (l *Log) Found(o *Op, values [][]byte, c version.Clock) {
	l.end(o, Done, c)
	o.values = values
}

// Written records that a write has succeeded, with the clock of its context.
func (l *Log) Written(o *Op, c version.Clock) { l.end(o, Done, c) }

// Failed records that an operation has not succeeded, and what is known of
// it.
func (l *Log) Failed(o *Op, outcome Outcome) { l.end(o, outcome, version.Clock{}) }

func (l *Log) end(o *Op, outcome Outcome, c version.Clock) {
	l.now++
	o.ended, o.outcome, o.clock = l.now, outcome, c
}

// Context returns what the operation was given to send with a write.
func (o *Op) Context() version.Clock { return o.clock }

// Sends returns the clock that a write is sent with, and whether it is sent
// with any.
func (o *Op) Sends() (c version.Clock, ok bool) {
	if o.from == nil {
		return version.Clock{}, false
	}
	return o.from.clock, true
}

// Len returns the number of operations.
func (l *Log) Len() int { return len(l.ops) }

// Keys returns the keys of all operations, in the order of their first ones.
func (l *Log) Keys() []string {
	keys := make([]string, len(l.keys))
	for i, k := range l.keys {
		keys[i] = k.key
	}
	return keys
}

// Story tells what clients did with a key and were told, an operation a line,
// for people to find out what a problem came from.
func (l *Log) Story(key string) string {
	var b strings.Builder
	k := l.byKey[key]
	if k == nil {
		return ""
	}
	for _, o := range k.ops {
		fmt.Fprintf(&b, "%d-%d: %v\n", o.began, o.ended, o)
	}
	return b.String()
}

// Idle says what a log lacks that a test of everything has, nothing where it
// lacks nothing. It must have been checked.
func (t Tally) Idle() string {
	for _, kind := range []struct {
		what string
		n    int
	}{
		{"reads", t.Reads},
		{"puts", t.Puts},
		{"deletes", t.Deletes},
		{"writes with a context", t.WithContext},
		{"reads of several values", t.Siblings},
		{"strict reads that had writes to find", t.Held},
	} {
		if kind.n == 0 {
			return "no " + kind.what
		}
	}
	return ""
}

// String tells one operation.
func (o *Op) String() string {
	var b strings.Builder
	switch {
	case o.Remove:
		fmt.Fprintf(&b, "delete %d W=%d", o.number, o.Quorum)
	case o.Write:
		fmt.Fprintf(&b, "put %d W=%d", o.number, o.Quorum)
	default:
		fmt.Fprintf(&b, "read %d R=%d", o.number, o.Quorum)
	}
	if o.Strict {
		b.WriteString(" strict")
	}
	if o.from != nil {
		fmt.Fprintf(&b, " with the context of %d", o.from.number)
	}
	fmt.Fprintf(&b, " is %s", [...]string{Unknown: "unknown", Done: "done", NotWritten: "not written"}[o.outcome])
	if o.outcome != Done {
		return b.String()
	}
	if !o.Write {
		b.WriteString(", shows")
		for _, v := range o.values {
			number, ok := ParseValue(v, []byte(o.Key))
			if !ok {
				number = -1
			}
			fmt.Fprintf(&b, " %d", number)
		}
	}
	fmt.Fprintf(&b, ", context %v", o.clock)
	return b.String()
}

// Tally counts what a log has, so that a test can say that it tested anything.
type Tally struct {
	Reads, Puts, Deletes int // that succeeded
	FailedReads          int
	NotWritten, Unknown  int // writes
	WithContext          int // writes that sent a context
	Siblings             int // reads that showed several values
	Held                 int // strict reads that had writes to find
}

// Tally counts the operations. Held is complete only after Check.
func (l *Log) Tally() (t Tally) {
	t.Held = l.held
	for _, o := range l.ops {
		switch {
		case !o.Write && o.outcome == Done:
			t.Reads++
			if len(o.values) > 1 {
				t.Siblings++
			}
		case !o.Write:
			t.FailedReads++
		case o.outcome == NotWritten:
			t.NotWritten++
		case o.outcome == Unknown:
			t.Unknown++
		case o.Remove:
			t.Deletes++
		default:
			t.Puts++
		}
		if o.Write && o.from != nil {
			t.WithContext++
		}
	}
	return t
}
