package httpjson

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strconv"
	"time"

	"github.com/dynamo-kv/dynamo/internal/transport/wire"
)

// The paths of the protocol.
const (
	GetPath    = "/rpc/get"
	PutPath    = "/rpc/put"
	GossipPath = "/rpc/gossip"
	SyncPath   = "/rpc/sync"
	HintPath   = "/rpc/hint"

	// HelloPath and EnvelopesPath are for nodes: what they send each other
	// where they speak HTTP.
	HelloPath     = "/rpc/hello"
	EnvelopesPath = "/rpc/envelopes"
)

// Key is the key of a request. One of the fields is given: key_base64 for keys
// that are not UTF-8.
type Key struct {
	Key       *string `json:"key,omitempty"`
	KeyBase64 *string `json:"key_base64,omitempty"`
}

// Versions is what a request brings of a key: one version by itself, or a
// whole sibling set with its clock.
type Versions struct {
	Value    *Version  `json:"value,omitempty"`
	Versions []Version `json:"versions,omitempty"`
	Clock    *Clock    `json:"clock,omitempty"`
}

// GetRequest asks a node for its own copy of a key.
type GetRequest struct{ Key }

// GetReply has the node's own copy, which is durable: what it holds as an
// owner, or as one that has not handed it on yet, without the hints that it
// keeps for others.
type GetReply struct {
	Values []Version `json:"values"` // empty where there is none
	Clock  Clock     `json:"clock"`
	Error  string    `json:"error,omitempty"`
}

// PutRequest asks a node to merge versions into its own copy of a key.
type PutRequest struct {
	Key
	Versions
}

// PutReply says whether the node durably holds what was put, or what replaces
// it.
type PutReply struct {
	Success bool   `json:"success"`
	Error   string `json:"error,omitempty"`
}

// HintRequest asks a node to keep versions for another one. For the node that
// is asked itself it is a put.
type HintRequest struct {
	OriginalNode string `json:"original_node"`
	Key
	Versions
}

// HintReply says whether the node durably keeps what was given.
type HintReply struct {
	Success bool   `json:"success"`
	Error   string `json:"error,omitempty"`
}

// GossipRequest tells a node of members. From need not be one.
type GossipRequest struct {
	FromNode string   `json:"from_node"`
	Cluster  string   `json:"cluster,omitempty"` // 16 hexadecimal digits
	Members  []Member `json:"members"`
}

// GossipReply has all members that the node knows.
type GossipReply struct {
	Cluster string   `json:"cluster,omitempty"` // 16 hexadecimal digits; none before there is one
	Members []Member `json:"members"`
	// Merged says that the request's members were taken in: they were whole,
	// of this cluster, and the sender's own record was among them.
	Merged bool   `json:"merged"`
	Error  string `json:"error,omitempty"`
}

// Member is a member of the cluster. Status and tokens are what the node that
// tells thinks and knows; all else is the member's own word.
type Member struct {
	NodeID  string `json:"node_id"`
	Address string `json:"address"`
	// Status is alive, suspected or dead; none of a member that has left.
	Status    string `json:"status"`
	Heartbeat uint64 `json:"heartbeat"`
	// Tokens are the partitions that the member owns in the newest layout.
	Tokens []uint32 `json:"tokens"`
	// Timestamp is the wall clock of who tells, when it told.
	Timestamp Time `json:"timestamp,omitzero"`
	// Record is the rest of the member's record, without which it is not taken
	// in.
	Record *Record `json:"record,omitempty"`
}

// Record is what members tell of themselves beside what people look for.
type Record struct {
	Zone        string `json:"zone"`
	Datacentre  string `json:"datacentre"`
	Weight      uint32 `json:"weight"`
	Instance    string `json:"instance"` // 16 hexadecimal digits
	Start       string `json:"start"`    // 16 hexadecimal digits
	Incarnation uint64 `json:"incarnation"`
	Changed     uint64 `json:"changed"`
	State       string `json:"state"` // joining, active, leaving, left
	Layout      Layout `json:"layout"`
	Phase       string `json:"phase"`  // none, copying, moved, stable
	Synced      Layout `json:"synced"` // for which it has pulled all that it gained
}

// Layout is the full name of a layout.
type Layout struct {
	Number uint64 `json:"number"`
	Digest string `json:"digest"` // 16 hexadecimal digits
}

// SyncRequest compares a range of the ring.
type SyncRequest struct {
	KeyRange KeyRange `json:"key_range"`
	// TreeRoot is the caller's: that of an earlier answer, or another node's.
	// Empty: nothing is compared.
	TreeRoot string `json:"tree_root"`
}

// KeyRange is a range of the ring, its ends included, each 16 hexadecimal
// digits: the hashes of the keys in it. An empty end is that of the ring.
type KeyRange struct {
	Start string `json:"start"`
	End   string `json:"end"`
}

// SyncReply compares what the node holds of the range.
type SyncReply struct {
	// TreeRoot is the hash of all that the node holds of the range, 32
	// hexadecimal digits, of nothing zeros.
	TreeRoot string `json:"tree_root"`
	// Differences are all keys that the node holds of the range, if the
	// caller's tree root is another one; those that are not UTF-8 stand beside
	// them in base64.
	Differences       []string `json:"differences"`
	DifferencesBase64 []string `json:"differences_base64,omitempty"`
	// Next is where the range goes on that the keys are from, if there are more
	// of them than an answer takes.
	Next  string `json:"next,omitempty"`
	Error string `json:"error,omitempty"`
}

// EnvelopesReply says what became of a batch: how many of its envelopes were
// delivered, and how many were of kinds that only a newer node knows.
type EnvelopesReply struct {
	Delivered int    `json:"delivered"`
	Unknown   int    `json:"unknown,omitempty"`
	Error     string `json:"error,omitempty"`
}

// Version is one value or tombstone with what it had seen.
type Version struct {
	Data Data `json:"data"` // empty for a tombstone
	// VectorClock is the largest vector under the set's clock that covers no
	// other sibling's dot, by actor. The version's own dot stands beside it: it
	// is in the vector too where it continues it.
	VectorClock map[string]uint64 `json:"vector_clock"`
	// Timestamp is the wall clock of the node that took the write, RFC 3339
	// with nanoseconds, in UTC. It decides nothing.
	Timestamp   Time `json:"timestamp"`
	IsTombstone bool `json:"is_tombstone"`
	// Dot is the version's own; of one that was made by hand it may be left
	// out.
	Dot *Dot `json:"dot,omitempty"`
	// WriteID names the client's request over its retries: 32 hexadecimal
	// digits.
	WriteID string `json:"write_id,omitempty"`
}

// Dot is the unique name of one write to one key.
type Dot struct {
	Actor   string `json:"actor"` // node~epoch
	Counter uint64 `json:"counter"`
}

// Clock is what a sibling set has seen.
type Clock struct {
	Vector map[string]uint64 `json:"vector"`
	Dots   []Dot             `json:"dots,omitempty"` // covered one by one
}

// Data is bytes in base64 with padding. Its own decoder keeps out the lists of
// numbers that package json takes for bytes as well.
type Data []byte

// UnmarshalText decodes base64. The error is one of package json, which adds
// the name of the field.
func (d *Data) UnmarshalText(text []byte) (err error) {
	if *d, err = base64.StdEncoding.AppendDecode(nil, text); err != nil {
		return unfit[Data](strconv.Quote(excerpt(text)))
	}
	return nil
}

// Time is a time as RFC 3339 with nanoseconds.
type Time struct{ time.Time }

// UnmarshalJSON decodes a time. The error is one of package json, which adds
// the name of the field.
func (t *Time) UnmarshalJSON(text []byte) error {
	if len(text) > maxTimeBytes || t.Time.UnmarshalJSON(text) != nil {
		return unfit[Time](excerpt(text))
	}
	return nil
}

// excerpt returns a text as errors show it.
func excerpt[T ~string | ~[]byte](text T) string { return wire.Excerpt(text, maxExcerpt) }

// unfit says that a text is no T.
func unfit[T any](text string) error {
	return &json.UnmarshalTypeError{Value: text, Type: reflect.TypeFor[T]()}
}
