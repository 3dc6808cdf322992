package httpjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/semaphore"
)

// errBodies says that maxBodies is reached.
var errBodies = errors.New("too many bytes of requests in memory")

// firstBytes is the size of a body's buffer to begin with: most are smaller.
const firstBytes = 4 << 10

// budget bounds the memory of bodies, and the time that each may take. It is
// safe for concurrent use.
type budget struct {
	bytes   *semaphore.Weighted
	timeout time.Duration
}

func newBudget() budget {
	return budget{bytes: semaphore.NewWeighted(maxBodies), timeout: readTimeout}
}

// read returns the body of r, of at most limit bytes, and a function that gives
// its memory back to the budget, to be called when the request ends. Memory is
// taken as bytes come in, so that a length that is only announced costs
// nothing. The error is a *http.MaxBytesError, errBodies, or that of the
// connection; with any of them the deadline stays, since net/http waits for the
// rest of a body before it lets the connection go.
func (b budget) read(w http.ResponseWriter, r *http.Request, limit int64) (body []byte, release func(), err error) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(b.timeout)) // a recorder of tests has none
	in := http.MaxBytesReader(w, r.Body, limit)
	held := int64(0)
	release = func() { b.bytes.Release(held) }
	for {
		if len(body) == cap(body) {
			grown := max(firstBytes, 2*cap(body))
			if !b.bytes.TryAcquire(int64(grown - cap(body))) {
				release()
				return nil, nil, errBodies
			}
			held += int64(grown - cap(body))
			body = append(make([]byte, 0, grown), body...)
		}
		n, err := in.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			_ = control.SetReadDeadline(time.Time{})
			return body, release, nil
		}
		if err != nil {
			release()
			return nil, nil, b.unread(err, len(body), r.ContentLength)
		}
	}
}

// unread says why a body could not be read, of which some bytes have come of
// those that were announced, -1 for none.
func (b budget) unread(err error, some int, announced int64) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the body could not be read: %w", err)
	}
	all := "bytes"
	if announced >= 0 {
		all = fmt.Sprintf("%d bytes", announced)
	}
	return fmt.Errorf("the body has not come in whole within %v: %d of its %s have; nothing was done; send it without pauses, and as long as its header says", b.timeout, some, all)
}

// refuseBody answers a request whose body could not be had.
func refuseBody(w http.ResponseWriter, err error, fail failer) {
	tooLarge := (*http.MaxBytesError)(nil)
	switch {
	case errors.As(err, &tooLarge):
		fail(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes, the most that is allowed here", tooLarge.Limit))
	case errors.Is(err, errBodies):
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, "this node has more requests than it can hold; try again later")
	default:
		w.Header().Set("Connection", "close")
		fail(w, http.StatusBadRequest, err.Error())
	}
}

// allow says whether the request has the method, and answers it otherwise. It drops
// the body first, for which it has the time that a body has: a client that is still
// sending would not see the answer, and net/http would wait for the body for longer
// than the answer may take to leave.
func allow(w http.ResponseWriter, r *http.Request, method string, fail failer) bool {
	if r.Method == method {
		return true
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readTimeout)) // a recorder of tests has none
	if _, err := io.CopyN(io.Discard, r.Body, maxDrain); !errors.Is(err, io.EOF) {
		w.Header().Set("Connection", "close")
	}
	w.Header().Set("Allow", method)
	fail(w, http.StatusMethodNotAllowed, "the method "+r.Method+" is not allowed here; use "+method)
	return false
}

// failer answers with an error, in the shape of its path's answers.
type failer func(w http.ResponseWriter, status int, message string)

// failAs returns the failer of a path whose answers look like what shape makes
// of an error.
func failAs(shape func(message string) any, logger *slog.Logger) failer {
	return func(w http.ResponseWriter, status int, message string) { write(w, status, shape(message), logger) }
}

// write answers with v. A caller that has gone is nobody's error.
func write(w http.ResponseWriter, status int, v any, logger *slog.Logger) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("httpjson: an answer cannot be encoded: %v", err)) // plain structs always can
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // a recorder of tests has none
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := w.Write(append(body, '\n')); err != nil {
		logger.Debug("a peer left before its answer", "error", err)
	}
}
