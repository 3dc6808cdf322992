package httpjson

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

// GetPath is where a node answers with its own copy of a key.
const GetPath = "/rpc/get"

const (
	// maxGetBody bounds a request for a key, in bytes: the longest key with
	// each byte as an escape of six, with room for the rest.
	maxGetBody = 8*id.MaxKeyBytes + 1024

	// localTimeout bounds an answer that needs nobody else: a node whose disk
	// takes longer to make durable what it shows had better say so.
	localTimeout = 10 * time.Second
)

// GetRequest asks a node for its own copy of a key. One of the fields is
// given: key_base64 for keys that are not UTF-8.
type GetRequest struct {
	Key       *string `json:"key,omitempty"`
	KeyBase64 *string `json:"key_base64,omitempty"`
}

// GetReply has the node's own copy, which is durable: what it holds as an
// owner, or as one that has not handed it on yet, without the hints that it
// keeps for others.
type GetReply struct {
	Values []Version `json:"values"` // empty where there is none
	Clock  Clock     `json:"clock"`
	Error  string    `json:"error,omitempty"`
}

// Backend carries requests out. Do returns at the latest when timeout has
// passed or ctx has ended; how it ended is in the result's code.
type Backend interface {
	Do(ctx context.Context, q *core.Request, timeout time.Duration) core.Result
}

// Handler answers the requests of the peer protocol. It is safe for
// concurrent use.
type Handler struct {
	backend Backend
	logger  *slog.Logger
}

// NewHandler returns the handler of GetPath.
func NewHandler(b Backend, logger *slog.Logger) *Handler {
	return &Handler{backend: b, logger: logger}
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		h.fail(w, http.StatusMethodNotAllowed, "the method "+r.Method+" is not allowed here; use POST")
		return
	}
	key, err := parseGet(http.MaxBytesReader(w, r.Body, maxGetBody))
	if err != nil {
		status := http.StatusBadRequest
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		h.fail(w, status, err.Error())
		return
	}
	result := h.backend.Do(r.Context(), &core.Request{Op: core.OpInspect, Key: key}, localTimeout)
	switch result.Code {
	case core.CodeOK, core.CodeNotFound:
		h.write(w, http.StatusOK, GetReply{Values: versionsOf(result.Set), Clock: clockOf(result.Set.Clock)})
	case core.CodeTimeout:
		h.fail(w, http.StatusGatewayTimeout, fmt.Sprintf("this node has not made durable what it holds within %v", localTimeout))
	default:
		w.Header().Set("Retry-After", "1")
		h.fail(w, http.StatusServiceUnavailable, "this node cannot answer now: "+result.Code.String())
	}
}

// parseGet returns the key that is asked for, checked.
func parseGet(body io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("the body could not be read: %w; at most %d bytes are allowed", err, maxGetBody)
	}
	if !utf8.Valid(raw) {
		return nil, errors.New("the body is not UTF-8, which JSON is; give a key that is not UTF-8 as key_base64")
	}
	var q GetRequest
	if err := json.Unmarshal(raw, &q); err != nil {
		return nil, fmt.Errorf(`the body is not a request: %w; write it like {"key": "cart"}`, err)
	}
	key, err := q.key()
	if err != nil {
		return nil, err
	}
	if len(key) == 0 || len(key) > id.MaxKeyBytes {
		return nil, fmt.Errorf("the key has %d bytes; 1 to %d are allowed", len(key), id.MaxKeyBytes)
	}
	return key, nil
}

func (q *GetRequest) key() ([]byte, error) {
	switch {
	case (q.Key == nil) == (q.KeyBase64 == nil):
		return nil, errors.New("give the key in one of key and key_base64")
	case q.Key != nil && strings.ContainsRune(*q.Key, utf8.RuneError):
		// JSON decoders put U+FFFD in place of half a surrogate pair.
		return nil, errors.New("the key has U+FFFD, or an escape that is half a character; give it as key_base64")
	case q.Key != nil:
		return []byte(*q.Key), nil
	}
	key, err := base64.StdEncoding.DecodeString(*q.KeyBase64)
	if err != nil {
		return nil, fmt.Errorf("key_base64 is not base64 with padding: %w", err)
	}
	return key, nil
}

func (h *Handler) fail(w http.ResponseWriter, status int, message string) {
	h.write(w, status, GetReply{Values: []Version{}, Clock: Clock{Vector: map[string]uint64{}}, Error: message})
}

// write answers with v. A client that has gone is nobody's error.
func (h *Handler) write(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("httpjson: an answer cannot be encoded: %v", err)) // plain structs always can
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := w.Write(append(body, '\n')); err != nil {
		h.logger.Debug("client left before its answer", "err", err)
	}
}
