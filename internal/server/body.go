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
	// maxBodies bounds the bodies that are in memory at once, in bytes: 16 of
	// the largest, or thousands of common ones. Past it the node is
	// overloaded.
	maxBodies = 16 * id.MaxValueBytes

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
// gives its memory back to the budget, to be called when the request ends.
// The error is a *Refused, errBodies, or that of the connection.
func (b budget) read(r *http.Request, l Limits) (body []byte, release func(), err error) {
	limit := int64(l.MaxValueBytes)
	if r.ContentLength > limit {
		return nil, nil, l.tooLarge()
	}
	need := limit + 1 // a chunked body may have any length
	if r.ContentLength >= 0 {
		need = r.ContentLength
	}
	if !b.bytes.TryAcquire(need) {
		return nil, nil, errBodies
	}
	release = func() { b.bytes.Release(need) }
	if body, err = readBody(r, limit); err != nil {
		release()
		return nil, nil, err
	}
	if int64(len(body)) > limit {
		release()
		return nil, nil, l.tooLarge()
	}
	return body, release, nil
}

// readBody reads up to limit+1 bytes, so that the caller sees when there are
// more than limit.
func readBody(r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength < 0 {
		return io.ReadAll(io.LimitReader(r.Body, limit+1))
	}
	body := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, body)
	return body, err
}

// drain reads and drops what is left of a body, so that the answer reaches a
// client that is still sending. It says whether the end was reached.
func drain(r *http.Request) bool {
	n, err := io.CopyN(io.Discard, r.Body, maxDrain)
	return n < maxDrain && errors.Is(err, io.EOF)
}
