package server

import (
	"errors"
	"io"
	"net/http"

	"golang.org/x/sync/semaphore"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

const (
	// maxBodies bounds the bodies that are in memory at once, in bytes, of
	// requests and of large answers that their clients have not taken: 16 of the
	// largest, or thousands of common ones. Past it the node is overloaded.
	maxBodies = 16 * id.MaxValueBytes

	// firstBytes is what a body gets at first: nearly all have no more.
	firstBytes = 64 << 10

	// freeAnswer is what an answer may have without counting as a body in memory,
	// in bytes: about what a connection's buffers take.
	freeAnswer = 64 << 10

	// maxDrain is how much of a refused body is read and dropped before the
	// answer, in bytes. A client that is still sending when the connection
	// closes would see a reset and never the answer.
	maxDrain = 16 << 20
)

var (
	// errBodies says that maxBodies is reached.
	errBodies = errors.New("too many bytes of request bodies in memory")
	// errTurnedAway says that the backend does not take the request, whatever its
	// body is.
	errTurnedAway = errors.New(Explain(core.OpPut, core.Result{Code: core.CodeOverloaded}))
)

// budget bounds the memory of bodies. It is safe for concurrent use.
type budget struct{ bytes *semaphore.Weighted }

func newBudget() budget { return budget{bytes: semaphore.NewWeighted(maxBodies)} }

// read returns the body of r, of at most limit bytes, and a function that
// gives its memory back to the budget, to be called when the request ends. Memory
// is taken as bytes come in, so that a length which is only announced costs
// little. The error is a *Refused, errBodies, or that of the connection.
func (b budget) read(r *http.Request, l Limits) (body []byte, release func(), err error) {
	limit := int64(l.MaxValueBytes)
	if r.ContentLength > limit {
		return nil, nil, l.tooLarge()
	}
	want := r.ContentLength
	if want < 0 {
		want = limit + 1 // a chunked body may have any length
	}
	held := int64(0)
	for whole := false; !whole; {
		size := min(want, max(firstBytes, 2*held))
		if !b.bytes.TryAcquire(size - held) {
			b.bytes.Release(held)
			return nil, nil, errBodies
		}
		held = size
		body, err = readUpTo(r.Body, body, size)
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && (!ended || want == r.ContentLength) {
			b.bytes.Release(held)
			return nil, nil, err
		}
		whole = ended || size == want
	}
	if int64(len(body)) > limit {
		b.bytes.Release(held)
		return nil, nil, l.tooLarge()
	}
	holds := held
	return body, func() { b.bytes.Release(holds) }, nil
}

// readUpTo returns size bytes: those that were read before, and what follows. It
// returns fewer with the error of io.ReadFull.
func readUpTo(from io.Reader, before []byte, size int64) ([]byte, error) {
	body := make([]byte, size)
	n := copy(body, before)
	more, err := io.ReadFull(from, body[n:])
	return body[:n+more], err
}

// drain reads and drops what is left of a body, so that the answer reaches a
// client that is still sending. It says whether the end was reached.
func drain(r *http.Request) bool {
	n, err := io.CopyN(io.Discard, r.Body, maxDrain)
	return n < maxDrain && errors.Is(err, io.EOF)
}
