package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// The error codes of the protocol, beside those of core.Code.String.
const (
	codeInvalid          = "invalid_request"
	codeContext          = "invalid_context"
	codeTooLarge         = "too_large"
	codeNoSuchPath       = "no_such_path"
	codeMethodNotAllowed = "method_not_allowed"
)

// retryAfter is what Retry-After says, in seconds: long enough for a queue to
// drain, short enough to be followed.
const retryAfter = "1"

// failure is an answer that is not a success: its status, and the body as the
// protocol spells it. Fields that do not apply are left out, so zero replicas
// that acknowledged are told from a request that asked none.
type failure struct {
	status int
	retry  bool // say Retry-After
	closes bool // the connection cannot be used for another request

	Code         string `json:"code"`
	Message      string `json:"message"`
	Acknowledged *int   `json:"acknowledged,omitempty"`
	Required     *int   `json:"required,omitempty"`
	Outcome      string `json:"outcome,omitempty"` // writes only
	RequestID    string `json:"request_id"`
}

// refusal returns the answer to a request of which nothing was done.
func refusal(op core.Op, err error) failure {
	f := failure{status: http.StatusBadRequest, Code: codeInvalid, Message: err.Error()}
	var refused *Refused
	switch {
	case errors.Is(err, errBodies), errors.Is(err, errTurnedAway):
		f.status, f.retry, f.Code = http.StatusServiceUnavailable, true, core.CodeOverloaded.String()
	case errors.As(err, &refused) && refused.Kind == KindContext:
		f.Code = codeContext
	case errors.As(err, &refused) && refused.Kind == KindTooLarge:
		f.status, f.Code, f.closes = http.StatusRequestEntityTooLarge, codeTooLarge, true
	case errors.Is(err, os.ErrDeadlineExceeded):
		f.Message, f.closes = fmt.Sprintf("the body has not come in whole within %v of its request's begin; "+
			"send it without pauses, and as long as its header says", headerTimeout+bodyTimeout), true
	case refused == nil: // the connection failed while the body came in
		f.Message, f.closes = fmt.Sprintf("the body could not be read: %v", err), true
	}
	if op != core.OpGet {
		f.Outcome = core.NotWritten.String()
	}
	return f
}

// failed returns the answer to a request that the backend did not carry out.
func failed(op core.Op, r core.Result) failure {
	f := failure{status: status(r.Code), Code: r.Code.String(), Message: Explain(op, r)}
	f.retry = f.status == http.StatusServiceUnavailable && r.Code != core.CodeQuorum
	if r.Code == core.CodeQuorum || r.Code == core.CodeTimeout {
		f.Acknowledged, f.Required = &r.Acknowledged, &r.Required
	}
	if op != core.OpGet {
		f.Outcome = r.Outcome.String()
	}
	return f
}

// status returns the HTTP status of a code.
func status(c core.Code) int {
	switch c {
	case core.CodeOK:
		return http.StatusOK
	case core.CodeNotFound:
		return http.StatusNotFound
	case core.CodeTooManySiblings, core.CodeSetTooLarge, core.CodeClockTooLong:
		return http.StatusConflict
	case core.CodeQuorum, core.CodeOverloaded, core.CodeNotReady, core.CodeStopped:
		return http.StatusServiceUnavailable
	case core.CodeTimeout:
		return http.StatusGatewayTimeout
	case core.CodeStorageFull:
		return http.StatusInsufficientStorage
	case core.CodeRefused:
	}
	return http.StatusInternalServerError
}

// Explain says in a sentence why a request was not carried out, and what its
// client can do about it.
func Explain(op core.Op, r core.Result) string {
	switch r.Code {
	case core.CodeQuorum:
		return fmt.Sprintf("%d of %d replicas %s, and no more can be reached%s",
			r.Acknowledged, r.Required, answered(op), after(op, r.Outcome))
	case core.CodeTimeout:
		return fmt.Sprintf("%d of %d replicas %s in time%s", r.Acknowledged, r.Required, answered(op), after(op, r.Outcome))
	case core.CodeOverloaded:
		return "the node has more requests than it can hold; try again later, with growing pauses"
	case core.CodeTooManySiblings:
		return "the key has too many siblings; read it, and write the merged value with the context that the read returned"
	case core.CodeSetTooLarge:
		return "the key's siblings are too large together; read it, and write the merged value with the context that the read returned"
	case core.CodeClockTooLong:
		return "the key's clock has too many entries; it takes writes again when they have been pruned"
	case core.CodeStorageFull:
		return "too few nodes have room left on their disks, or in their memory, for this write" + after(op, r.Outcome) +
			"; deletes and reads go on, and writes do when there is room"
	case core.CodeNotReady:
		return "the node does not serve yet: it has no layout; its /health says what it waits for"
	case core.CodeStopped:
		return "the node stops"
	case core.CodeNotFound:
		return "the key is not found"
	case core.CodeOK, core.CodeRefused:
	}
	return fmt.Sprintf("unexpected result %s", r.Code)
}

func answered(op core.Op) string {
	if op == core.OpGet {
		return "answered"
	}
	return "acknowledged"
}

// after says what became of a write.
func after(op core.Op, o core.Outcome) string {
	switch {
	case op == core.OpGet:
		return ""
	case o == core.NotWritten:
		return "; nothing was written"
	}
	return "; whether it was written is not known: read the key, or repeat the write with the same idempotency key"
}

// fail answers with f.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, f failure) {
	f.RequestID = w.Header().Get(HeaderRequestID)
	s.logFailure(w, r, &f)
	if !drain(r) || f.closes {
		w.Header().Set("Connection", "close")
	}
	if f.retry {
		w.Header().Set("Retry-After", retryAfter)
	}
	s.writeJSON(w, f.status, struct {
		Error failure `json:"error"`
	}{f})
}

// writeJSON answers with v. A client that has gone is nobody's error.
func (s *Server) writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("server: an answer cannot be encoded: %v", err)) // plain structs always can
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := w.Write(append(body, '\n')); err != nil {
		s.logger.Debug("client left before its answer", nameOf(w), slog.Any("error", err))
	}
}
