package grpckv

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/id"
)

const (
	// maxUnderWay bounds the requests of one stream that have no reply yet: as
	// many as wait for one shard. Past it nothing more is read from the stream.
	maxUnderWay = 4096

	// maxBytes bounds the memory of all requests under way and of replies that
	// wait for their clients to take them, by their keys, values and contexts:
	// 16 of the largest values, or many thousands of common ones. Past it the
	// node is overloaded.
	maxBytes = 16 * id.MaxValueBytes

	// entryBytes is what an entry of a context takes when it is decoded: its dot,
	// and most of the actor's name.
	entryBytes = 64

	// maxRequests bounds the requests of one message, so that one message is
	// soon begun.
	maxRequests = maxUnderWay

	// maxReplies and maxReplyBytes bound one message of replies: past them the
	// cost of a message is shared by so many that a larger one gains nothing. A
	// reply that is larger leaves alone.
	maxReplies    = 1024
	maxReplyBytes = 256 << 10

	// keepDecoded bounds the structs of requests that a stream keeps between two
	// messages: as many as the Go client sends at a time.
	keepDecoded = 1024

	// maxShared bounds the value that shares an allocation with its key: beyond it
	// copying costs more than allocating.
	maxShared = 4 << 10

	// keepScratch bounds the memory that a stream keeps between two messages.
	keepScratch = 64 << 10

	// A request that its client gives a deadline ends a little before it, so that
	// the node's own answer, which knows how far it came, arrives: by maxMargin,
	// or a tenth of a shorter time.
	maxMargin = 5 * time.Millisecond
)
