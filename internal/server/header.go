package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/version"
)

const (
	// maxLines bounds the headers of one kind of answer. Eight entries are also
	// what fits the smallest of Go's maps: with one more, each answer would make
	// and copy a larger one.
	maxLines = 5

	// usualHead is the memory for the values of an answer's headers; a longer
	// context takes more.
	usualHead = 256

	// autoLength is the largest value whose Content-Length is left to net/http,
	// which adds it to what fits its buffer of 2 KiB. It is an entry less.
	autoLength = 1 << 10
)

// head is the headers of one answer, whose values share one string and one
// slice: nearly all that this package costs is headers.
type head struct {
	text  []byte
	lines [maxLines]struct {
		name string // canonical
		end  int    // of the value in text
	}
	count int
}

// end ends the value that was appended to text: it is that of the header name.
func (h *head) end(name string) {
	h.lines[h.count].name, h.lines[h.count].end = name, len(h.text)
	h.count++
}

func (h *head) number(name string, n int) {
	h.text = strconv.AppendInt(h.text, int64(n), 10)
	h.end(name)
}

// result takes in what an answer says of how its request ended.
func (h *head) result(q *core.Request, r *core.Result) {
	if r.Code == core.CodeOK || r.Code == core.CodeNotFound {
		if !r.Context.IsEmpty() {
			h.text = version.NewContext(q.Key, r.Context).AppendToken(h.text)
			h.end(HeaderContext)
		}
		h.number(HeaderAcknowledged, r.Acknowledged)
		h.number(HeaderRequired, r.Required)
	}
	if r.Required > 0 {
		h.text = appendQuorumMet(h.text, q.Op, r)
		h.end(HeaderQuorum)
	}
}

// appendQuorumMet says by whom a request was answered: how many nodes, and how
// many of them are fallbacks that keep the write for an owner, or that answered
// the read in its place.
func appendQuorumMet(b []byte, op core.Op, r *core.Result) []byte {
	fallbacks := "; hinted="
	if op == core.OpGet {
		fallbacks = "; fallbacks="
	}
	b = strconv.AppendInt(append(b, "replicas="...), int64(r.Acknowledged), 10)
	b = strconv.AppendInt(append(b, fallbacks...), int64(r.Fallbacks), 10)
	return strconv.AppendInt(append(b, "; required="...), int64(r.Required), 10)
}

func (h *head) timestamp(ns int64) {
	h.text = appendTimestamp(h.text, ns)
	h.end(HeaderTimestamp)
}

// appendTimestamp prints Unix nanoseconds as RFC 3339 in UTC.
func appendTimestamp(b []byte, ns int64) []byte {
	return time.Unix(0, ns).UTC().AppendFormat(b, time.RFC3339Nano)
}

// setIn adds the headers to those of an answer.
func (h *head) setIn(to http.Header) {
	text := string(h.text)
	values := make([]string, h.count)
	begin := 0
	for i, line := range h.lines[:h.count] {
		values[i] = text[begin:line.end]
		to[line.name] = values[i : i+1 : i+1]
		begin = line.end
	}
}
