package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience bounds every wait of a script, far above what any takes.
const patience = 3 * time.Minute

// gorace ends processes under the race detector at once; they would wait a
// second for races that are about to be found.
const gorace = "atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"dynamo": func() {
		os.Args = patiently(os.Args)
		main()
	}})
}

// patiently gives a request of a script a minute where its node would give it two
// seconds: a script is not about how fast the machine is.
func patiently(args []string) []string {
	if len(args) < 2 || !slices.Contains([]string{"put", "get", "delete", "explain"}, args[1]) || slices.Contains(args, "--timeout") {
		return args
	}
	return slices.Insert(args, 2, "--timeout", "1m")
}

// TestScripts runs testdata/*.txtar with real processes of this program.
// Beside testscript's own commands they have:
//
//	start NAME REGEXP ARGS...   runs dynamo ARGS until interrupt, crash or the end, and waits until what it
//	                            has printed, in whole lines, matches; each node that it has said by then to
//	                            listen sets a variable of the node's ID to the address
//	interrupt NAME                  interrupts it, and checks that it ends well
//	crash NAME                   kills it
//	exits CODE ARGS...          runs dynamo ARGS and checks the exit code
//	eventually REGEXP ARGS...   runs dynamo ARGS until it prints what matches, which is then the last output
//	context VAR                 puts the context in the last standard output into VAR
//	json PATH REGEXP             checks a value in the last standard output, which is one JSON object; a path
//	                            is names with / between them
//	listener VAR                listens on a port that is no node's, at the address in VAR
//	certificate NAME             writes NAME.pem, a certificate for 127.0.0.1 that vouches for itself, and NAME-key.pem
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", gorace)
			e.Values[processesKey{}] = &processes{running: map[string]*process{}}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start":      cmdStart,
			"interrupt":  cmdInterrupt,
			"crash":      cmdCrash,
			"exits":      cmdExits,
			"eventually": cmdEventually,
			"context":    cmdContext,
			"json":       cmdJSON,
			"listener":   cmdListener,

			"certificate": cmdCertificate,
		},
	})
}

type processesKey struct{}

// processes are those that a script has started.
type processes struct{ running map[string]*process }

// process is one of them. Its output is collected by a goroutine, which ends
// with the process.
type process struct {
	cmd    *exec.Cmd
	stderr strings.Builder
	ended  chan struct{} // closed when the output is at its end

	mu    sync.Mutex // guards what follows
	lines []string
	more  chan struct{} // closed and renewed with each line
}

func processesOf(ts *testscript.TestScript) map[string]*process {
	return ts.Value(processesKey{}).(*processes).running
}

func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: start NAME REGEXP ARGS...")
	}
	self, err := os.Executable()
	ts.Check(err)
	cmd := exec.CommandContext(context.Background(), self, args[2:]...)
	cmd.Args[0] = "dynamo"
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{"HOME=" + ts.Getenv("HOME"), "PATH=" + ts.Getenv("PATH"), "GORACE=" + gorace}
	p := &process{cmd: cmd, ended: make(chan struct{}), more: make(chan struct{})}
	cmd.Stderr = &p.stderr
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	go p.collect(bufio.NewScanner(stdout))
	processesOf(ts)[args[0]] = p
	ts.Defer(func() { _ = p.end(os.Kill) })
	for _, node := range p.await(ts, args[1]) {
		ts.Setenv(node.id, node.addr)
	}
}

func (p *process) collect(s *bufio.Scanner) {
	defer close(p.ended)
	for s.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, s.Text())
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
	}
}

// nodeAddr is where a process says that a node listens.
type nodeAddr struct{ id, addr string }

// await waits until what the process has printed matches, and returns the nodes in
// the lines until then: those that come later may be there already, or not.
func (p *process) await(ts *testscript.TestScript, pattern string) []nodeAddr {
	re, err := regexp.Compile("(?m)" + pattern)
	ts.Check(err)
	timeout := time.After(patience)
	var nodes []nodeAddr
	text := ""
	for seen := 0; ; {
		p.mu.Lock()
		lines, more := p.lines[seen:], p.more
		p.mu.Unlock()
		for _, line := range lines {
			if m := listensLine().FindStringSubmatch(line); m != nil {
				nodes = append(nodes, nodeAddr{m[1], m[2]})
			}
			text += line + "\n"
			if re.MatchString(text) {
				return nodes
			}
		}
		seen += len(lines)
		select {
		case <-more:
		case <-p.ended:
			err := p.cmd.Wait()
			ts.Fatalf("it ended (%v) before it printed %q:\n%s\n%s", err, pattern, text, p.stderr.String())
		case <-timeout:
			ts.Fatalf("it has not printed %q:\n%s", pattern, text)
		}
	}
}

func listensLine() *regexp.Regexp { return regexp.MustCompile(`(n\d+) +(?:listens on |http://)(\S+)$`) }

// end sends a signal and waits for the process.
func (p *process) end(signal os.Signal) error {
	if err := p.cmd.Process.Signal(signal); err != nil {
		return err
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		return errors.Join(errors.New("it does not end"), p.cmd.Process.Kill())
	}
	return p.cmd.Wait()
}

func take(ts *testscript.TestScript, neg bool, args []string) *process {
	if neg || len(args) != 1 || processesOf(ts)[args[0]] == nil {
		ts.Fatalf("usage: interrupt|crash NAME, of what runs")
	}
	p := processesOf(ts)[args[0]]
	delete(processesOf(ts), args[0])
	return p
}

func cmdInterrupt(ts *testscript.TestScript, neg bool, args []string) {
	p := take(ts, neg, args)
	if err := p.end(os.Interrupt); err != nil {
		ts.Fatalf("%s ended with %v:\n%s", args[0], err, p.stderr.String())
	}
	if out := p.stderr.String(); strings.Contains(out, "DATA RACE") {
		ts.Fatalf("%s", out)
	}
}

func cmdCrash(ts *testscript.TestScript, neg bool, args []string) {
	_ = take(ts, neg, args).end(os.Kill) // it ends by the signal
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("dynamo", args[1:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func cmdEventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually REGEXP ARGS...")
	}
	re, err := regexp.Compile(args[0])
	ts.Check(err)
	timeout := time.After(patience)
	pause := time.NewTicker(50 * time.Millisecond)
	defer pause.Stop()
	for {
		err := ts.Exec("dynamo", args[1:]...)
		if re.MatchString(ts.ReadFile("stdout")) || re.MatchString(ts.ReadFile("stderr")) {
			return
		}
		select {
		case <-pause.C:
		case <-timeout:
			ts.Fatalf("dynamo %s has never printed %q (%v)", strings.Join(args[1:], " "), args[0], err)
		}
	}
}

func cmdContext(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: context VAR")
	}
	m := regexp.MustCompile(`"context":"([^"]+)"`).FindStringSubmatch(ts.ReadFile("stdout"))
	if m == nil {
		ts.Fatalf("there is no context on standard output")
	}
	ts.Setenv(args[0], m[1])
}

func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: json PATH REGEXP")
	}
	re, err := regexp.Compile(args[1])
	ts.Check(err)
	out := ts.ReadFile("stdout")
	var at any
	if err := json.Unmarshal([]byte(out), &at); err != nil {
		ts.Fatalf("standard output is no JSON object: %v:\n%s", err, out)
	}
	for name := range strings.SplitSeq(args[0], "/") {
		object, _ := at.(map[string]any)
		value, ok := object[name]
		if !ok {
			ts.Fatalf("there is no %s (at %q) in:\n%s", args[0], name, out)
		}
		at = value
	}
	if text, err := json.Marshal(at); err != nil || !re.Match(text) {
		ts.Fatalf("%s is %s, not %q (%v)", args[0], text, args[1], err)
	}
}

func cmdListener(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: listener VAR")
	}
	srv := newStranger()
	ts.Defer(srv.Close)
	ts.Setenv(args[0], srv.Listener.Addr().String())
}
