package node_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/node"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// TestFullScenarios plays the files of testdata/full: Control and the shard of
// the node a, with W=1, among the owners a, b and c, whom the test plays. The
// marks are at 20 and 10 MiB of 100. Commands:
//
//	measure left=MIB [kib=]     what the shell measures
//	put KEY [bytes=], delete KEY, get KEY    a client; a delete has the context of what is there
//	apply KEY [bytes=] [of=NODE], hint KEY for=NODE, read KEY   a peer
//	answer NODE refused|stored|done     what it was asked last
//
// They print what a client is told, what is sent, and how many records are
// written.
func TestFullScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/full", func(t *testing.T, path string) {
		p := newFullPlay(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			p.output.Reset()
			p.command(t, d)
			p.settle()
			return p.output.String()
		})
	})
}

// fullPlay is a node whose peers and disk are a test's.
type fullPlay struct {
	*bench
	control *node.Control
	asked   map[id.Node]core.Envelope
	ids     byte
	output  strings.Builder
}

func newFullPlay(t *testing.T) *fullPlay {
	t.Helper()
	o := controlOptions("a:1")
	o.Self, o.Shards, o.W, o.MaxHintBytes = "a", 1, 1, 1<<20
	tenths(&o)
	p := &fullPlay{bench: newBench(o, owning(t, "a", "b", "c")), asked: make(map[id.Node]core.Envelope)}
	var err error
	if p.control, err = node.NewControl(o, p.store); err != nil {
		t.Fatal(err)
	}
	drain(p.control, p.store, p.control.Begin)
	return p
}

func (p *fullPlay) command(t *testing.T, d *datadriven.TestData) {
	key := ""
	if len(d.CmdArgs) > 0 {
		key = d.CmdArgs[0].Key
	}
	size, of, owner := 10, "b", "c"
	d.MaybeScanArgs(t, "bytes", &size)
	d.MaybeScanArgs(t, "of", &of)
	d.MaybeScanArgs(t, "for", &owner)
	switch d.Cmd {
	case "measure":
		p.measure(t, d)
	case "put", "delete", "get":
		p.submit(d.Cmd, key, size)
	case "apply":
		p.deliver("b", []byte(key), &core.Apply{Key: []byte(key), Set: versionOf(id.Node(of), make([]byte, size))})
	case "hint":
		p.deliver("b", []byte(key), &core.Hint{Key: []byte(key), Set: versionOf("b", make([]byte, size)), Owner: id.Node(owner)})
	case "read":
		p.deliver("b", []byte(key), &core.Read{Key: []byte(key)})
	case "answer":
		p.answer(t, id.Node(key), d.CmdArgs[1].Key)
	default:
		t.Fatalf("%s: there is no command %s", d.Pos, d.Cmd)
	}
}

func (p *fullPlay) measure(t *testing.T, d *datadriven.TestData) {
	var whole, kib uint64
	d.ScanArgs(t, "left", &whole)
	d.MaybeScanArgs(t, "kib", &kib)
	p.control.Room(p.now, core.RoomReport{Left: whole*mib + kib<<10, Total: 100 * mib})
	if v := p.control.View(); v != nil {
		shown := stable("a", p.layout)
		shown.Room = v.Room
		p.SetView(p.now, shown, &p.out)
	}
	fmt.Fprintln(&p.output, p.control.Status().Room.State)
}

func (p *fullPlay) submit(op, key string, size int) {
	p.ids++
	r := &core.Request{
		Req: 1, Op: core.OpGet, Key: []byte(key), Deadline: p.now.Mono + time.Second,
		Options: core.Options{R: 1, WriteID: version.WriteID{p.ids}},
	}
	switch op {
	case "put":
		r.Op, r.Value = core.OpPut, make([]byte, size)
	case "delete":
		var out core.Out
		p.Submit(p.now, &core.Request{Req: 2, Op: core.OpInspect, Key: r.Key}, &out)
		r.Op, r.Context, r.HasContext = core.OpDelete, out.Replies[0].Result.Context, true
	}
	p.Submit(p.now, r, &p.out)
}

func (p *fullPlay) answer(t *testing.T, n id.Node, how string) {
	e, ok := p.asked[n]
	if !ok {
		t.Fatalf("%s was asked nothing", n)
	}
	delete(p.asked, n)
	var m core.Message = &core.Refused{Why: core.RefusedStorageFull}
	switch how {
	case "stored":
		m = &core.Applied{}
	case "done":
		m = &core.Forwarded{Result: core.Result{Code: core.CodeOK, Outcome: core.Written, Acknowledged: 1, Required: 1}}
	}
	p.Deliver(p.now, &core.Envelope{
		From: n, To: "a", Cluster: cluster, Req: e.Req, Start: e.Start, Reply: true,
		Stamp: e.Stamp, Deadline: p.now.Mono + time.Second, Msg: m,
	}, &p.out)
}

// settle makes what was written durable, and prints what came of it all.
func (p *fullPlay) settle() {
	for {
		writes, held := len(p.out.Writes), append(p.out.SendsHeld, p.out.Sends...)
		for i := range held {
			p.sent(&held[i])
		}
		for _, r := range append(p.out.Replies, p.out.RepliesHeld...) {
			fmt.Fprintf(&p.output, "client: %v %v\n", r.Result.Code, r.Result.Outcome)
		}
		if writes > 0 {
			fmt.Fprintf(&p.output, "%d records written\n", writes)
		}
		p.store.Commit(p.out.Writes)
		n := p.Flush()
		p.out.Reset()
		if writes == 0 {
			return
		}
		p.Durable(p.now, n, &p.out)
	}
}

func (p *fullPlay) sent(e *core.Envelope) {
	what := strings.TrimPrefix(fmt.Sprintf("%T", e.Msg), "*core.")
	if r, ok := e.Msg.(*core.Refused); ok {
		what += ": " + r.Why.String()
	}
	if !e.Reply {
		p.asked[e.To] = *e
	}
	fmt.Fprintf(&p.output, "to %s: %s\n", e.To, what)
}
