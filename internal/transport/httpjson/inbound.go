package httpjson

import (
	"fmt"
	"net/http"
	"time"

	"github.com/dynamo-kv/dynamo/internal/transport/wire"
)

// Routes returns what answers peers, by path.
func (t *Transport) Routes() map[string]http.Handler {
	return map[string]http.Handler{
		HelloPath:     http.HandlerFunc(t.hello),
		EnvelopesPath: http.HandlerFunc(t.envelopes),
	}
}

// hello greets whoever has connected.
func (t *Transport) hello(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, t.fail) {
		return
	}
	write(w, http.StatusOK, Hello{Node: string(t.self), Protocol: protocol}, t.logger)
}

// envelopes takes in a batch.
func (t *Transport) envelopes(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodPost, t.fail) {
		return
	}
	if !t.enter() {
		t.fail(w, http.StatusServiceUnavailable, "this node stops")
		return
	}
	defer t.inbound.Done()
	raw, release, err := t.bodies.read(w, r, wire.MaxJSONBytes)
	if err != nil {
		refuseBody(w, err, t.fail)
		return
	}
	defer release()
	if since, ok := r.Context().Value(connected{}).(uint64); !ok || since != t.pauses.Now() {
		w.Header().Set("Connection", "close")
		t.fail(w, http.StatusServiceUnavailable, fmt.Sprintf("node %s has stood still since you connected: connect again", t.self))
		return
	}
	var d wire.Decoder
	result, err := d.DecodeJSON(t.mono(), raw, t.handler.Deliver)
	t.count.Received(result.Delivered, result.Unknown, len(raw), err)
	if err != nil {
		t.complain(r, err)
		write(w, http.StatusBadRequest, EnvelopesReply{Delivered: result.Delivered, Unknown: result.Unknown, Error: err.Error()}, t.logger)
		return
	}
	write(w, http.StatusOK, EnvelopesReply{Delivered: result.Delivered, Unknown: result.Unknown}, t.logger)
}

// complain logs that a peer sent what is malformed, now and then.
func (t *Transport) complain(r *http.Request, err error) {
	now, last := time.Now().UnixNano(), t.complained.Load()
	if now-last < int64(complainEvery) || !t.complained.CompareAndSwap(last, now) {
		return
	}
	t.logger.Warn("a peer has sent a malformed batch", "from", r.RemoteAddr, "error", err)
}
