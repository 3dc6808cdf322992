package cluster

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// programs is the folder of the programs that the tests build.
var programs string

// binary is the dynamo program as it is shipped, built once for all tests of the
// package.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(programs, "dynamo")
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "github.com/dynamo-kv/dynamo/cmd/dynamo")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building dynamo: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	if spec := os.Getenv(nodeEnv); spec != "" {
		if err := workerMain(spec, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	var err error
	if programs, err = os.MkdirTemp("", "dynamo-test"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(programs)
	os.Exit(code)
}

// process is one dynamo serve.
type process struct {
	t      *testing.T
	id     string
	addr   string
	args   []string
	inside *namespace   // that it runs in; nil: none of its own
	http   *http.Client // that reaches it
	cmd    *exec.Cmd
	stderr *bytes.Buffer // complete when exited is closed
	exited chan struct{}
}

// serve starts a node of its own process on a free port, or the one that args
// name, and returns when it listens. Processes come back after they were
// killed, so their engine is one that keeps its data.
func serve(t *testing.T, id, listen, data string, args ...string) *process {
	t.Helper()
	for flag, value := range map[string]string{
		"--engine": durableEngine(), "--request-timeout": patientRequest.String(), "--peer-timeout": patientPeer.String(),
	} {
		if !slices.Contains(args, flag) {
			args = append(args, flag, value)
		}
	}
	p := &process{t: t, id: id, args: append([]string{"serve", "--id", id, "--data", data}, args...), http: client}
	p.start(listen)
	t.Cleanup(p.kill)
	return p
}

func (p *process) start(listen string) {
	p.t.Helper()
	line := p.launch(listen)
	_, addr, ok := strings.Cut(line, "listens on ")
	if !ok {
		p.kill()
		p.t.Fatalf("%s says %q and %s", p.id, line, p.stderr)
	}
	if p.addr != addr { // clients look at it, and after a restart it is the same
		p.addr = addr
	}
}

// launch starts the process and returns the first line that it says.
func (p *process) launch(listen string) string {
	p.t.Helper()
	path, err := binary()
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd = exec.Command(path, append(p.args, "--listen", listen)...) //nolint:noctx // killed at the end of the test
	p.stderr = &bytes.Buffer{}
	p.cmd.Stderr = p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	start := p.cmd.Start
	if p.inside != nil {
		start = func() error { return p.inside.start(p.cmd) }
	}
	if err := start(); err != nil {
		p.t.Fatal(err)
	}
	p.exited = make(chan struct{})
	lines := make(chan string, 1)
	go func() {
		defer close(p.exited)
		scan := bufio.NewScanner(stdout)
		if scan.Scan() {
			lines <- scan.Text()
		}
		close(lines)
		for scan.Scan() { // the pipe must not fill up
			continue
		}
		_ = p.cmd.Wait()
	}()
	return <-lines
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// restart starts it again where it was.
func (p *process) restart() { p.start(p.addr) }

type status struct {
	UnderReplicated bool `json:"under_replicated"`
	Serving         bool `json:"serving"`
	Leftovers       int  `json:"leftovers"`
	Members         []struct {
		ID     string `json:"id"`
		Status string `json:"status"`
	} `json:"members"`
	Layout struct {
		Phase string `json:"phase"`
	} `json:"layout"`
	Room struct {
		State string `json:"state"`
	} `json:"room"`
	Hints struct {
		Pending []struct {
			Target string `json:"target"`
			Keys   int    `json:"keys"`
		} `json:"pending"`
		Stored    int `json:"stored"`
		Delivered int `json:"delivered"`
	} `json:"hints"`
}

// await polls until the condition holds.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("still waiting for %s after %v", what, patience)
		case <-tick.C:
		}
	}
}

// statusTimeout is after how long an answer is asked for again by whoever polls.
const statusTimeout = 10 * time.Second

func (p *process) status() (s status, err error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), statusTimeout)
	defer cancel()
	a, err := p.doWithin(ctx, http.MethodGet, "/v1/status", nil, nil)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(a.body, &s)
}

// awaitMembers waits until the node knows that many, N of them own each key,
// and nothing is left to copy.
func (p *process) awaitMembers(n int) {
	p.t.Helper()
	await(p.t, fmt.Sprintf("%s to see %d members in a whole layout", p.id, n), func() bool {
		s, err := p.status()
		return err == nil && len(s.Members) == n && !s.UnderReplicated && s.Layout.Phase == "stable"
	})
}

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 2 * patientRequest}

// answer is what a request came back with.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

func (p *process) do(method, path string, body []byte) (answer, error) {
	return p.doWithin(p.t.Context(), method, path, body, nil)
}

// doWithin is do with a context that may end earlier than the test's.
func (p *process) doWithin(ctx context.Context, method, path string, body []byte, header map[string]string) (a answer, err error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.addr+path, bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	for k, v := range header {
		req.Header[k] = []string{v} // as it is written: see send
	}
	res, err := p.http.Do(req)
	if err != nil {
		return a, err
	}
	a.code, a.header = res.StatusCode, res.Header
	a.body, err = io.ReadAll(res.Body)
	return a, errors.Join(err, res.Body.Close())
}

func (p *process) put(key, value, query string) (int, string, error) {
	a, err := p.do(http.MethodPut, "/v1/kv/"+url.PathEscape(key)+query, []byte(value))
	if err != nil || a.code != http.StatusNoContent {
		return a.code, string(a.body), err
	}
	return a.code, a.header.Get("Dynamo-Context"), nil
}

func (p *process) get(key, query string) (int, string, string, error) {
	a, err := p.do(http.MethodGet, "/v1/kv/"+url.PathEscape(key)+query, nil)
	if err != nil {
		return 0, "", "", err
	}
	return a.code, string(a.body), a.header.Get("Dynamo-Context"), nil
}

// each calls f for 0 to n-1 from 16 goroutines and reports the first error.
func each(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	const workers = 16
	errs := make(chan error, workers)
	for w := range workers {
		go func() {
			for i := w; i < n; i += workers {
				if err := f(i); err != nil {
					errs <- fmt.Errorf("number %d: %w", i, err)
					return
				}
			}
			errs <- nil
		}()
	}
	var first error
	for range workers {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	if first != nil {
		t.Fatal(first)
	}
}

func trio(t *testing.T) (a, b, c *process) {
	t.Helper()
	dir := t.TempDir()
	free := "127.0.0.1:0"
	a = serve(t, "n1", free, filepath.Join(dir, "n1"))
	b = serve(t, "n2", free, filepath.Join(dir, "n2"), "--join", a.addr)
	c = serve(t, "n3", free, filepath.Join(dir, "n3"), "--join", a.addr)
	for _, p := range []*process{a, b, c} {
		p.awaitMembers(3)
	}
	return a, b, c
}

// TestThreeProcessesSurviveAKill is the promise of the first page: what is
// acknowledged is there, through every node, with one of three killed, and
// after it is back.
func TestThreeProcessesSurviveAKill(t *testing.T) {
	const keys = 10_000
	a, b, c := trio(t)
	key := func(i int) string { return "key/" + strconv.Itoa(i) }
	expect := func(p *process, from, to int, value string) {
		t.Helper()
		each(t, to-from, func(i int) error {
			code, body, _, err := p.get(key(from+i), "")
			if err == nil && (code != http.StatusOK || body != value+strconv.Itoa(from+i)) {
				err = fmt.Errorf("%s answers %d %q", p.id, code, body)
			}
			return err
		})
	}
	write := func(p *process, from, to int, value string) {
		t.Helper()
		each(t, to-from, func(i int) error {
			code, body, err := p.put(key(from+i), value+strconv.Itoa(from+i), "?overwrite=true")
			if err == nil && code != http.StatusNoContent {
				err = fmt.Errorf("%s answers %d %q", p.id, code, body)
			}
			return err
		})
	}
	write(a, 0, keys, "one-")
	expect(b, 0, keys, "one-")
	expect(c, 0, keys, "one-")

	c.kill()
	write(a, 0, keys/10, "two-")
	write(b, keys, keys+keys/10, "two-")
	expect(a, 0, keys/10, "two-")
	expect(b, keys/10, keys, "one-")
	expect(a, keys, keys+keys/10, "two-")

	c.restart()
	c.awaitMembers(3)
	for _, p := range []*process{a, b, c} {
		expect(p, 0, keys/10, "two-")
		expect(p, keys/10, keys, "one-")
		expect(p, keys, keys+keys/10, "two-")
	}
}

// TestTwoOfThreeDead: a put never claims success, and says what is known.
func TestTwoOfThreeDead(t *testing.T) {
	a, b, c := trio(t)
	b.kill()
	c.kill()
	code, body, err := a.put("k", "v", "?w=2&overwrite=true")
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Error struct {
			Code         string
			Required     int
			Acknowledged int
			Outcome      string
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%d %q: %v", code, body, err)
	}
	e := answer.Error
	if code != http.StatusServiceUnavailable && code != http.StatusGatewayTimeout || e.Required != 2 || e.Acknowledged > 1 || e.Outcome != "unknown" {
		t.Errorf("%d %s", code, body)
	}
}

func TestMissingKeyIsAnsweredAtOnce(t *testing.T) {
	a, _, _ := trio(t)
	for range 3 {
		code, _, ctx, err := a.get("nobody wrote this", "")
		if err != nil || code != http.StatusNotFound || ctx != "" {
			t.Errorf("%d, context %q, %v", code, ctx, err)
		}
	}
}
