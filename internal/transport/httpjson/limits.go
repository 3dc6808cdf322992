package httpjson

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/transport/pause"
	"github.com/dynamo-kv/dynamo/internal/transport/wire"
)

// The limits of a request, at the node that answers it.
const (
	// readTimeout and writeTimeout are the time that a body may take to come
	// in, and an answer to leave. They are a part of what keeps the time that no
	// deadline sees below id.MaxMessageAge.
	readTimeout  = 10 * time.Second
	writeTimeout = 10 * time.Second

	// localTimeout bounds an answer that needs nobody else: a node whose disk
	// takes longer to make durable what it shows had better say so.
	localTimeout = 10 * time.Second

	// maxKeyBody bounds a request that has a key and little else, in bytes: the
	// longest key with each byte as an escape of six, with room for the rest.
	maxKeyBody = 8*id.MaxKeyBytes + 1024

	// maxSetBody bounds a request with versions: a whole sibling set in base64
	// beside its clock.
	maxSetBody = wire.MaxJSONBytes

	// maxGossipBody bounds a request with member records: as many as there may
	// be of the longest, each with all partitions, would be far larger and is
	// nothing that a node sends.
	maxGossipBody = 4 << 20

	// maxBodies bounds the bodies that are in memory at once: two of the
	// largest batches, and the room by which their buffers grow. Past it the
	// node is overloaded.
	maxBodies = 4 * id.MaxMessageBytes

	// maxDrain is how much is dropped of the body of a request that is refused
	// whatever its body is.
	maxDrain = 16 << 20

	// maxObjects and maxValues bound what a body of at most maxSetBody may
	// have, since an empty version takes 3 bytes in JSON and fifty times as
	// much in memory: some thousands of siblings, which only merges leave, with
	// clocks of id.MaxClockEntries.
	maxObjects = 1 << 15
	maxValues  = 1 << 21

	// maxExcerpt bounds what an error shows of a text that a caller sent: the
	// longest actor with a sequence of six digits.
	maxExcerpt = id.MaxNodeBytes + 1 + 16 + 1 + 6

	// maxActorBytes and maxTimeBytes bound an actor, which is node~start.sequence,
	// and a time, of which the longest that has a meaning is half of that.
	maxActorBytes = id.MaxNodeBytes + 1 + 16 + 1 + 20
	maxTimeBytes  = 70

	// maxSyncKeys bounds the keys of one answer to a sync: 2 MiB of the
	// longest.
	maxSyncKeys = 1000
)

// The limits of a connection, at the node that asks.
const (
	maxIdle        = 100
	maxIdlePerHost = 10
	idleTimeout    = 90 * time.Second

	// connectTimeout is the time for a connection and the peer's hello: several
	// round trips around the world.
	connectTimeout = 5 * time.Second

	// A connection that shows no life is found out by TCP: after pingAfter of
	// silence it probes, and what is not acknowledged within userTimeout ends
	// it.
	pingAfter   = 10 * time.Second
	userTimeout = pause.Silence - pingAfter

	// sendTimeout bounds a request with a batch: what its receiver allows for
	// reading it and for the answer.
	sendTimeout = readTimeout + writeTimeout

	// maxHelloBytes bounds a hello with its header, and maxReplyBytes the
	// answer to a batch: some short fields, and an error.
	maxHelloBytes = 4 << 10
	maxReplyBytes = 64 << 10

	// complainEvery bounds the log lines about malformed messages, since
	// whoever sends them chooses how many there are.
	complainEvery = 10 * time.Second
)
