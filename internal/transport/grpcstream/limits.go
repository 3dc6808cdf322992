package grpcstream

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/transport/pause"
)

const (
	// connectTimeout is the time for a connection, its handshakes and the
	// peer's hello: several round trips around the world.
	connectTimeout = 5 * time.Second

	// A connection that shows no life is found out within half of M, so that
	// no message in it can grow older than M: after pingAfter of silence a
	// ping is sent, and pingTimeout later the connection is closed. gRPC uses
	// pingTimeout as TCP's user timeout too.
	silence     = pause.Silence
	pingAfter   = 10 * time.Second // gRPC allows no less
	pingTimeout = silence - pingAfter

	// minPing is what a peer must leave between two pings: half of pingAfter,
	// so that no honest one is ever refused.
	minPing = pingAfter / 2

	// sendTimeout bounds the time that one message takes to leave. It is long
	// enough for the largest at 25 Mbit/s.
	sendTimeout = silence

	// window is how much a peer may have sent that has not been read: the
	// product of bandwidth and delay at 1 Gbit/s over 32 ms, or 10 Gbit/s over
	// 3 ms. It is also the most that a peer which is not read from costs.
	window = 4 << 20

	// ioBuffer is the size of a connection's read and write buffers: a few
	// HTTP/2 frames of 16 KiB a system call. Idle connections hold none for
	// writing.
	ioBuffer = 64 << 10

	// maxStreams bounds the streams of one connection. A peer has one, a client
	// that does not use streams one for each call under way.
	maxStreams = 100

	// maxHeaderBytes bounds the HTTP/2 headers of a stream; ours are below 1 KiB.
	maxHeaderBytes = 16 << 10

	// maxHelloBytes bounds a hello: a node ID.
	maxHelloBytes = 1 << 10

	// messageSlack is what a message may exceed id.MaxMessageBytes by before
	// gRPC ends the stream by itself; package wire refuses it with a better
	// error.
	messageSlack = 1 << 10

	// complainEvery bounds the log lines about malformed messages, since
	// whoever sends them chooses how many there are.
	complainEvery = 10 * time.Second
)
