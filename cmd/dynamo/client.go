package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// defaultAddr is where a node listens, and where clients look for one.
const defaultAddr = "127.0.0.1:7171"

const (
	// answerTimeout bounds a command where the node does not: it is longer
	// than the longest request.
	answerTimeout = 90 * time.Second
	// maxAnswer bounds an answer: a key's siblings, 32 MiB of them, in base64.
	maxAnswer = 64 << 20
)

// request is what the clients' flags say.
type request struct {
	addr    string
	context string
	r, w    int
	timeout time.Duration
	quorum  string
	json    bool
	tls     security
}

// registerAddr adds the flags that every client has.
func (q *request) registerAddr(cmd *cobra.Command, jsonUsage string) {
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&q.addr, "addr", addrFromEnv(), "host:port of any node of the cluster; DYNAMO_ADDR sets the default")
	q.tls.registerClient(cmd)
	cmd.Flags().BoolVar(&q.json, "json", false, jsonUsage)
}

// addrFromEnv returns the address of a node unless the command line has one.
func addrFromEnv() string {
	if addr := os.Getenv(envPrefix + "ADDR"); addr != "" {
		return addr
	}
	return defaultAddr
}

// register adds the flags of the commands that work on a key.
func (q *request) register(cmd *cobra.Command, jsonUsage string) {
	q.registerAddr(cmd, jsonUsage)
	flags := cmd.Flags()
	flags.StringVar(&q.quorum, "quorum", "", "who counts: sloppy, or strict for owners only (as the node is configured)")
	flags.DurationVar(&q.timeout, "timeout", 0, "time that the request has, 1ms to 1m (as the node is configured)")
}

// registerWrite adds the flags of the commands that write.
func (q *request) registerWrite(cmd *cobra.Command, contextUsage string) {
	cmd.Flags().StringVar(&q.context, "context", "", contextUsage)
	cmd.Flags().IntVar(&q.w, "w", 0, "replicas that must have stored it (as the node is configured)")
}

// answer is what a node has said.
type answer struct {
	status  int
	context string
	time    string // of a single value
	body    []byte
}

// write sends a PUT or DELETE: with the context where one was given, else
// overwriting whatever is stored. One that is empty, as that of a key that was
// never written, or of a command that has failed, must not overwrite.
func (q *request) write(cmd *cobra.Command, method, key string, value []byte) error {
	query := url.Values{}
	if !cmd.Flags().Changed("context") {
		query.Set("overwrite", "true")
	}
	a, err := q.send(cmd, method, key, query, value)
	if err != nil || !q.json {
		return err
	}
	return printJSON(cmd, struct {
		Context string `json:"context"`
	}{a.context})
}

// send carries out a request for a key. An answer that is no success is an
// error, one with several siblings is not.
func (q *request) send(cmd *cobra.Command, method, key string, query url.Values, body []byte) (answer, error) {
	flags := cmd.Flags()
	if flags.Changed("r") {
		query.Set("r", strconv.Itoa(q.r))
	}
	if flags.Changed("w") {
		query.Set("w", strconv.Itoa(q.w))
	}
	if flags.Changed("quorum") {
		query.Set("quorum", q.quorum)
	}
	if flags.Changed("timeout") {
		query.Set("timeout", q.timeout.String())
	}
	if key == "" {
		return answer{}, usagef(cmd, "the key is empty; a key has 1 to 2048 bytes")
	}
	return q.do(cmd.Context(), method, keyURL(q.addr, key, query), body)
}

// keyURL returns the URL of a key. Path and RawPath together keep every byte
// of it as it is.
func keyURL(addr, key string, query url.Values) *url.URL {
	return pathURL(addr, "/v1/kv/", key, query)
}

func pathURL(addr, prefix, key string, query url.Values) *url.URL {
	return &url.URL{
		Scheme: "http", Host: addr,
		Path: prefix + key, RawPath: prefix + url.PathEscape(key),
		RawQuery: query.Encode(),
	}
}

// do sends a request and returns the answer.
func (q *request) do(ctx context.Context, method string, u *url.URL, body []byte) (answer, error) {
	if err := checkAddr(q.addr); err != nil {
		return answer{}, exitf(exitUsage, "%w", err)
	}
	secure, err := q.tls.client()
	if err != nil {
		return answer{}, exitf(exitUsage, "%w", err)
	}
	if secure != nil {
		u.Scheme = "https"
	}
	within, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(within, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return answer{}, exitf(exitUsage, "the address %q cannot be used: %w", q.addr, err)
	}
	r.URL = u // as it is: parsing it again would change some keys
	if q.context != "" {
		r.Header.Set("Dynamo-Context", q.context)
	}
	// No proxy: a node is a database and not a page of the web.
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: secure},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(r)
	if err != nil {
		return answer{}, q.unanswered(ctx, method, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	a := answer{
		status:  resp.StatusCode,
		context: resp.Header.Get("Dynamo-Context"),
		time:    resp.Header.Get("Dynamo-Timestamp"),
	}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return answer{}, q.unanswered(ctx, method, err)
	}
	return a, q.check(method, a)
}

// show asks a node for what it knows, and prints that as the node sends it, or
// for people: as text says once the answer is in into.
func (q *request) show(cmd *cobra.Command, u *url.URL, into any, text func(coloured bool) string) error {
	a, err := q.do(cmd.Context(), http.MethodGet, u, nil)
	if err != nil {
		return err
	}
	if q.json {
		return write(cmd, a.body)
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		return exitf(exitUnreachable, "what answers at %s is not a node of this database: %w", q.addr, err)
	}
	return write(cmd, []byte(text(colours(cmd.OutOrStdout()))))
}

// checkAddr returns what is wrong with the address of a node.
func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("addr is %q; host:port is allowed: write it like %s", addr, defaultAddr)
	}
	return nil
}

// unanswered returns the error of a request that got no answer. ctx is the
// command's.
func (q *request) unanswered(ctx context.Context, method string, err error) error {
	if ctx.Err() != nil && method == http.MethodGet {
		return exitf(exitNotDone, "interrupted")
	}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		why := ""
		if !errors.Is(err, syscall.ECONNREFUSED) {
			why = fmt.Sprintf(" (%v)", dial.Err)
		}
		return &exitError{
			code: exitUnreachable, err: fmt.Errorf("no node answers at %s%s", q.addr, why),
			hint: "Start a cluster with 'dynamo dev', or name the address of a node with --addr.",
		}
	}
	if unusable, ok := errors.AsType[*url.Error](err); ok {
		err = unusable.Err
	}
	hint := ""
	switch {
	case ctx.Err() != nil:
		err = errors.New("interrupted")
	case errors.Is(err, io.EOF) && q.tls == security{}:
		hint = "If nodes have TLS, say with --tls-ca who has certified them."
	}
	if method == http.MethodGet {
		return &exitError{code: exitUnreachable, err: fmt.Errorf("the node at %s gave no answer: %w", q.addr, err), hint: hint}
	}
	return &exitError{
		code: exitUnknown, hint: hint,
		err: fmt.Errorf("the node at %s gave no answer, so it is not known whether it was stored: %w", q.addr, err),
	}
}

// check returns the error that an answer is, if it is one.
func (q *request) check(method string, a answer) error {
	if a.status < 400 {
		return nil
	}
	var body struct {
		Error struct{ Code, Message, Outcome string }
	}
	if err := json.Unmarshal(a.body, &body); err != nil || body.Error.Code == "" {
		return exitf(exitUnreachable, "what answers at %s is not a node of this database: status %d", q.addr, a.status)
	}
	e := &exitError{err: errors.New(body.Error.Message)}
	switch {
	case a.status == http.StatusNotFound && body.Error.Code == "not_found":
		e.code = exitNotFound
	case a.status < 500 && a.status != http.StatusConflict:
		e.code = exitUsage
	case method != http.MethodGet && body.Error.Outcome == "unknown":
		e.code = exitUnknown
	default:
		e.code = exitNotDone
	}
	return e
}

// sibling is one of several values of a key.
type sibling struct {
	Data      string `json:"data"` // base64
	Timestamp string `json:"timestamp"`
}

// found is what a get found, as it is printed with --json and as a node sends
// several siblings.
type found struct {
	Context  string    `json:"context"`
	Siblings []sibling `json:"siblings"`
}

// foundIn returns what is in the answer to a get.
func foundIn(a answer) (found, error) {
	f := found{Context: a.context, Siblings: []sibling{}}
	switch a.status {
	case http.StatusOK:
		f.Siblings = append(f.Siblings, sibling{Data: base64.StdEncoding.EncodeToString(a.body), Timestamp: a.time})
	case http.StatusMultipleChoices:
		if err := json.Unmarshal(a.body, &f); err != nil {
			return f, exitf(exitUnreachable, "the node's answer cannot be read: %w", err)
		}
	}
	return f, nil
}

func printJSON(cmd *cobra.Command, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("an answer cannot be encoded: %v", err)) // plain structs always can
	}
	return write(cmd, append(b, '\n'))
}

// oneLine says whether a text looks well at the end of a line of a message.
func oneLine(s string) bool { return len(s) <= 40 && !strings.ContainsAny(s, "\n\r\t'\"\\ ") }
