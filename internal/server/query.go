package server

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// The headers of the protocol.
const (
	HeaderContext        = "Dynamo-Context"
	HeaderIdempotencyKey = "Idempotency-Key"
	HeaderTimestamp      = "Dynamo-Timestamp"
	HeaderAcknowledged   = "Dynamo-Acknowledged"
	HeaderRequired       = "Dynamo-Required"
	HeaderQuorum         = "Dynamo-Quorum"
)

// keyPrefix is what stands before a key in a path.
const keyPrefix = "/v1/kv/"

// parseKey returns the key of an escaped path below keyPrefix, byte for byte:
// a '+' is a '+', and no dots or slashes are cleaned away.
func parseKey(escapedPath string) ([]byte, error) {
	return unescapeKey(strings.TrimPrefix(escapedPath, keyPrefix))
}

func unescapeKey(escaped string) ([]byte, error) {
	key, err := url.PathUnescape(escaped)
	if err != nil {
		return nil, invalidf("the key in the path is not percent-encoded: %v; write a byte that is no letter, "+
			"digit or one of - . _ ~ as %%XX", err)
	}
	b := []byte(key)
	return b, CheckKey(b)
}

// params is a parsed query.
type params struct {
	options core.Options
	timeout time.Duration
}

// parseQuery parses the query of a request. What it does not know is
// an error: a misspelt parameter that is ignored would change what a write
// means.
func (l Limits) parseQuery(rawQuery string) (params, error) {
	p := params{timeout: l.Timeout}
	if rawQuery == "" {
		return p, nil
	}
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return p, invalidf("the query is malformed: %v", err)
	}
	for _, name := range []string{"r", "w", "timeout", "quorum", "repair", "overwrite"} {
		given, ok := values[name]
		if !ok {
			continue
		}
		delete(values, name)
		if len(given) > 1 {
			return p, invalidf("the query parameter %s stands %d times; give it once", name, len(given))
		}
		if err := l.parseParam(&p, name, given[0]); err != nil {
			return p, err
		}
	}
	for name := range values { // order does not matter: any one of them is reported
		return p, invalidf("the query parameter %q is not known; r, w, timeout, quorum, repair and overwrite are", name)
	}
	return p, nil
}

func (l Limits) parseParam(p *params, name, value string) (err error) {
	switch name {
	case "r":
		p.options.R, err = l.parseReplicas(name, value)
	case "w":
		p.options.W, err = l.parseReplicas(name, value)
	case "timeout":
		p.timeout, err = parseTimeout(value)
	case "quorum":
		p.options.Quorum, err = parseQuorum(value)
	case "repair":
		p.options.Repair, err = parseRepair(value)
	case "overwrite":
		p.options.Overwrite, err = parseOverwrite(value)
	}
	return err
}

func (l Limits) parseReplicas(name, value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil {
		return 0, invalidf("%s is %q; use a number of 1 to %d", name, value, l.Replicas)
	}
	return n, l.CheckReplicas(name, n)
}

func parseTimeout(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil {
		return 0, invalidf("the timeout is %q; use a duration such as 500ms or 2s, %v to %v", value, MinTimeout, MaxTimeout)
	}
	return d, CheckTimeout(d)
}

func parseQuorum(value string) (core.Quorum, error) {
	switch value {
	case "strict":
		return core.QuorumStrict, nil
	case "sloppy":
		return core.QuorumSloppy, nil
	}
	return 0, invalidf("quorum is %q; strict and sloppy are allowed", value)
}

func parseRepair(value string) (core.Repair, error) {
	switch value {
	case "background":
		return core.RepairBackground, nil
	case "blocking":
		return core.RepairBlocking, nil
	}
	return 0, invalidf("repair is %q; background and blocking are allowed", value)
}

func parseOverwrite(value string) (bool, error) {
	if value == "" { // ?overwrite
		return true, nil
	}
	b, err := strconv.ParseBool(value)
	if err != nil {
		return false, invalidf("overwrite is %q; true and false are allowed", value)
	}
	return b, nil
}

// WriteIDFrom returns the write ID of an idempotency key, as version.WriteIDFrom
// does.
func WriteIDFrom(key string) (version.WriteID, error) {
	w, err := version.WriteIDFrom(key)
	if err != nil {
		return w, invalidf("%v", err)
	}
	return w, nil
}

// parseHeaders takes what the headers of a request say into q.
func parseHeaders(q *core.Request, h http.Header) error {
	token, err := oneHeader(h, HeaderContext)
	if err != nil {
		return err
	}
	if token != "" && q.Op != core.OpGet { // who has seen nothing may send it empty
		if q.Context, err = ParseContext(token, q.Key); err != nil {
			return err
		}
		q.HasContext = true
	}
	if q.Op == core.OpGet {
		return nil
	}
	if err := refuseConditions(h); err != nil {
		return err
	}
	if _, given := h[HeaderIdempotencyKey]; !given {
		return nil
	}
	key, err := oneHeader(h, HeaderIdempotencyKey)
	if err != nil {
		return err
	}
	q.Options.WriteID, err = WriteIDFrom(key)
	return err
}

// refuseConditions refuses what would change what a write means, and is not done
// here.
func refuseConditions(h http.Header) error {
	for _, name := range [...]string{"If-Match", "If-None-Match", "If-Unmodified-Since"} {
		if _, given := h[name]; given {
			return invalidf("the header %s is not supported: nobody serializes writes, so none can be held to it; "+
				"say with %s what the write replaces", name, HeaderContext)
		}
	}
	if _, given := h["Content-Range"]; given {
		return invalidf("the header Content-Range is not supported: a write stores a whole value")
	}
	return nil
}

// oneHeader returns the only value of a header, empty where there is none.
func oneHeader(h http.Header, name string) (string, error) {
	values := h[name]
	if len(values) > 1 {
		return "", invalidf("the header %s stands %d times; send it once", name, len(values))
	}
	if len(values) == 0 {
		return "", nil
	}
	return values[0], nil
}
