package procs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// maxSaid is how much of what a node prints to standard error is kept, from
// its beginning: its first error says most.
const maxSaid = 4 << 10

// Node is one node, in a process of its own, or in several, one after the
// other.
type Node struct {
	id            string
	program, name string
	args          []string

	mu   sync.Mutex // guards what follows
	addr string
	proc *process
}

// process is one process of a node.
type process struct {
	cmd    *exec.Cmd
	stderr *limited
	serves chan struct{} // closed when it has said that it serves
	exited chan struct{} // closed when it has ended and was waited for
}

func newNode(c Config, id, dir string) *Node {
	args := []string{"--id", id, "--data", filepath.Join(dir, id), "--layout-delay", layoutDelay}
	return &Node{id: id, program: c.Program, name: c.Name, args: append(args, c.Args...)}
}

// ID returns the node's name.
func (n *Node) ID() string { return n.id }

// Addr returns where the node listens, or has listened.
func (n *Node) Addr() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addr
}

// start starts a process and waits until it listens.
func (n *Node) start(ctx context.Context, listen string) error {
	p := &process{stderr: &limited{}, serves: make(chan struct{}), exited: make(chan struct{})}
	args := append([]string{"serve", "--listen", listen}, n.args...)
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), n.program, args...) // Close ends it
	p.cmd.Args[0] = n.name
	p.cmd.Env = environment()
	p.cmd.Stderr = p.stderr
	p.cmd.SysProcAttr = alone()
	stdout, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("node %s cannot be started: %w", n.id, err)
	}
	listens := make(chan string, 1)
	go p.follow(bufio.NewScanner(stdout), listens)
	n.mu.Lock()
	n.proc = p
	n.mu.Unlock()
	select {
	case addr := <-listens:
		n.mu.Lock()
		n.addr = addr
		n.mu.Unlock()
		return nil
	case <-p.exited:
		return fmt.Errorf("node %s has ended: %s", n.id, p.stderr)
	case <-ctx.Done():
		n.end()
		return context.Cause(ctx)
	}
}

// follow reads what the process prints until its end, and waits for it.
func (p *process) follow(lines *bufio.Scanner, listens chan<- string) {
	defer close(p.exited)
	for lines.Scan() {
		if _, addr, ok := strings.Cut(lines.Text(), " listens on "); ok {
			listens <- addr
		}
		if strings.Contains(lines.Text(), " serves cluster ") {
			close(p.serves)
		}
	}
	_ = p.cmd.Wait() // how it ended is in its ProcessState
}

// current returns the node's last process.
func (n *Node) current() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proc
}

func (n *Node) exited() <-chan struct{} { return n.current().exited }

func (n *Node) said() string { return n.current().stderr.String() }

// Kill ends the node's process as kill -9 does.
func (n *Node) Kill() error {
	p := n.current()
	if err := p.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("node %s cannot be killed: %w", n.id, err)
	}
	<-p.exited
	return nil
}

// end kills the process, if it runs.
func (n *Node) end() {
	p := n.current()
	if p == nil {
		return
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return // a process that cannot be killed cannot be waited for
	}
	<-p.exited
}

// Restart starts a node that was killed where it was. Serves waits until it
// serves.
func (n *Node) Restart(ctx context.Context) error { return n.start(ctx, n.Addr()) }

// Serves waits until the node has said that it serves.
func (n *Node) Serves(ctx context.Context) error {
	p := n.current()
	select {
	case <-p.serves:
		return nil
	case <-p.exited:
		return fmt.Errorf("node %s has ended: %s", n.id, p.stderr)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (n *Node) signal(s os.Signal) error {
	if err := n.current().cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("node %s: %v: %w", n.id, s, err)
	}
	return nil
}

// environment is this process's, less what would set up a node otherwise than
// the command line says.
func environment() []string {
	var out []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "DYNAMO_") {
			out = append(out, v)
		}
	}
	return out
}

// limited keeps the beginning of what is written to it.
type limited struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *limited) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b[:min(len(b), max(0, maxSaid-l.text.Len()))])
	return len(b), nil
}

func (l *limited) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(l.text.String())
}
