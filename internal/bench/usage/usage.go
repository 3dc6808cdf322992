package usage

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/dynamo-kv/dynamo/internal/bench"
)

// Meter measures the nodes of a cluster from Begin to End.
type Meter struct {
	client *http.Client
	scheme string
	addrs  []string

	// Since Begin:
	members []member
	before  []reading // of each member
	unknown error     // why it is not known who the members are
}

// member is a node as /v1/status has it.
type member struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	State   string `json:"state"`
}

// reading is what a node has told, or why it has not.
type reading struct {
	figures
	err error
}

// New returns a meter of the cluster that the nodes at addrs belong to. secure
// is nil where it has no TLS.
func New(addrs []string, secure *tls.Config) *Meter {
	m := &Meter{scheme: "http", addrs: addrs, client: &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives:  true, // a connection would be idle for the whole run
			DisableCompression: true, // which would cost the node more than it saves
			TLSClientConfig:    secure,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if secure != nil {
		m.scheme = "https"
	}
	return m
}

// Begin reads what each node has used until now.
func (m *Meter) Begin(ctx context.Context) {
	m.members, m.unknown = m.learn(ctx)
	m.before = m.read(ctx)
}

// End returns what each node has used since Begin.
func (m *Meter) End(ctx context.Context) []bench.NodeUsage {
	var nodes []bench.NodeUsage
	if m.unknown != nil {
		for _, addr := range m.addrs {
			nodes = append(nodes, bench.NodeUsage{ID: addr, Unknown: m.unknown.Error()})
		}
		return nodes
	}
	first := map[float64]string{} // node of each process, by when that was started
	for i, after := range m.read(ctx) {
		n := bench.NodeUsage{ID: m.members[i].ID}
		switch before := m.before[i]; {
		case before.err != nil:
			n.Unknown = before.err.Error()
		case after.err != nil:
			n.Unknown = after.err.Error()
		case after.started != before.started || after.cpu < before.cpu:
			n.Unknown = "its process was started anew meanwhile"
		case first[after.started] != "":
			n.ProcessOf = first[after.started]
		default:
			first[after.started] = n.ID
			n.Used = &bench.Used{CPUSeconds: (after.cpu - before.cpu).Seconds(), RSS: after.rss, PeakRSS: after.peak}
		}
		nodes = append(nodes, n)
	}
	return append(nodes, m.joined(ctx)...)
}

// joined returns the nodes that were no members at Begin. Where the members
// are not told a second time, those of the first time are all that is known.
func (m *Meter) joined(ctx context.Context) (nodes []bench.NodeUsage) {
	members, _ := m.learn(ctx)
	for _, now := range members {
		if !slices.ContainsFunc(m.members, func(before member) bool { return before.ID == now.ID }) {
			nodes = append(nodes, bench.NodeUsage{ID: now.ID, Unknown: "it has joined meanwhile"})
		}
	}
	return nodes
}

// learn asks the nodes at the addresses for the members, and waits for no other
// when one has answered.
func (m *Meter) learn(ctx context.Context) (members []member, err error) {
	ctx, answered := context.WithCancel(ctx)
	defer answered()
	answers, errs := make([]struct{ Members []member }, len(m.addrs)), make([]error, len(m.addrs))
	each(len(m.addrs), func(i int) {
		body, err := m.get(ctx, m.addrs[i], "/v1/status")
		if err == nil {
			err = json.Unmarshal(body, &answers[i])
		}
		if errs[i] = err; err == nil {
			answered()
		}
	})
	i := max(0, slices.Index(errs, nil))
	if errs[i] != nil {
		return nil, fmt.Errorf("who the members are: %w", errs[i])
	}
	return slices.DeleteFunc(answers[i].Members, func(n member) bool { return n.State == "left" }), nil
}

// read reads the metrics of all members.
func (m *Meter) read(ctx context.Context) []reading {
	out := make([]reading, len(m.members))
	each(len(m.members), func(i int) {
		body, err := m.get(ctx, m.members[i].Address, "/metrics")
		if err == nil {
			out[i].figures, err = parse(string(body))
		}
		out[i].err = err
	})
	return out
}

// each calls f with every index below n at once, and waits.
func each(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// askTimeout bounds a question. An answer takes milliseconds, but the machine
// may have just been overloaded on purpose.
const askTimeout = 5 * time.Second
