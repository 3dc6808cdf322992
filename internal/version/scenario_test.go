package version

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestScenarios runs testdata/scenarios: traces of one key over a few nodes.
// An actor is written as its node's letter and a start, "a1", a dot as
// "a1:3". Every command prints what it has changed. The commands:
//
//	put node=A actor=a1 value=x [ctx=(c,d)] [overwrite] [save=e]
//	delete node=A actor=a1 [ctx=(c,d)] [overwrite] [save=e]
//	    writes in the joined contexts, or in the node's own clock, and saves
//	    the context that the client is given
//	read node=A [save=c]
//	    shows live values, and saves the context that the client is given
//	context name=c dots=(a1:1,a1:2)
//	    makes a context by hand
//	merge from=B to=A
//	copy from=A to=old       a message on its way, a hint, a copy of a disk
//	wipe node=A              its disk is lost
//	prune node=A actor=a1    its clock entry is forgotten
//	show node=A              the set, and the clock to show for each version
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/scenarios", func(t *testing.T, path string) {
		s := scenario{nodes: map[string]Siblings{}, contexts: map[string]Clock{}}
		datadriven.RunTest(t, path, s.run)
	})
}

// scenario is the state of one trace, by the names that it gives.
type scenario struct {
	nodes    map[string]Siblings
	contexts map[string]Clock
	writes   byte
}

func (s *scenario) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "put", "delete":
		return s.write(t, d)
	case "read":
		set := s.nodes[arg(t, d, "node")]
		s.save(t, d, set.Clock)
		values := []string{}
		for _, v := range set.Live() {
			values = append(values, string(v.Data))
		}
		return fmt.Sprintf("[%s] context %s\n", strings.Join(values, " "), short(set.Clock))
	case "context":
		var c Clock
		for _, text := range list(d, "dots") {
			c = c.With(parseDot(t, text))
		}
		s.contexts[arg(t, d, "name")] = c
		return short(c) + "\n"
	case "merge":
		to := arg(t, d, "to")
		set, err := Merge(s.nodes[to], s.nodes[arg(t, d, "from")])
		if err != nil {
			return fmt.Sprintf("error: %v\n", err)
		}
		return s.set(to, set)
	case "copy":
		return s.set(arg(t, d, "to"), s.nodes[arg(t, d, "from")])
	case "wipe":
		return s.set(arg(t, d, "node"), Siblings{})
	case "prune":
		node := arg(t, d, "node")
		set := s.nodes[node]
		pruned := actor(arg(t, d, "actor"))
		set = Siblings{Clock: without(set.Clock, func(a Actor) bool { return a == pruned }), Versions: set.Versions}
		return s.set(node, set)
	case "show":
		return s.show(arg(t, d, "node"))
	}
	t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
	return ""
}

func (s *scenario) write(t *testing.T, d *datadriven.TestData) string {
	node := arg(t, d, "node")
	var ctx Clock
	for _, name := range list(d, "ctx") {
		c, ok := s.contexts[name]
		if !ok {
			t.Fatalf("%s: no context %s", d.Pos, name)
		}
		ctx = ctx.Join(c)
	}
	if d.HasArg("overwrite") {
		ctx = s.nodes[node].Clock
	}
	s.writes++
	w := Write{ID: WriteID{s.writes}, Tombstone: d.Cmd == "delete"}
	if !w.Tombstone {
		w.Data = []byte(arg(t, d, "value"))
	}
	set, dot := s.nodes[node].Put(ctx, actor(arg(t, d, "actor")), w)
	ctx = ctx.With(dot)
	s.save(t, d, ctx)
	return fmt.Sprintf("minted %s, context %s\n%s", shortDot(dot), short(ctx), s.set(node, set))
}

func (s *scenario) save(t *testing.T, d *datadriven.TestData, c Clock) {
	if d.HasArg("save") {
		s.contexts[arg(t, d, "save")] = c
	}
}

// set stores a node's set and prints it.
func (s *scenario) set(node string, set Siblings) string {
	s.nodes[node] = set
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: %s", node, short(set.Clock))
	for _, v := range set.Versions {
		fmt.Fprintf(&b, " %s=%s", shortDot(v.Dot), valueOf(v))
	}
	return b.String() + "\n"
}

func (s *scenario) show(node string) string {
	set := s.nodes[node]
	var b bytes.Buffer
	b.WriteString(s.set(node, set))
	for i, v := range set.Versions {
		fmt.Fprintf(&b, "  %s=%s shows %s\n", shortDot(v.Dot), valueOf(v), short(set.ClockOf(i)))
	}
	return b.String()
}

func valueOf(v Version) string {
	if v.Tombstone {
		return "(deleted)"
	}
	return string(v.Data)
}

func shortDot(d Dot) string {
	return fmt.Sprintf("%s%d:%d", d.Actor.Node, d.Actor.Epoch.Start, d.Counter)
}

func short(c Clock) string {
	names := func(dots []Dot) (out []string) {
		for _, d := range dots {
			out = append(out, shortDot(d))
		}
		return out
	}
	all := names(c.Vector())
	if dots := names(c.Dots()); len(dots) > 0 {
		all = slices.Concat(all, []string{"|"}, dots)
	}
	return "{" + strings.Join(all, " ") + "}"
}

func parseDot(t *testing.T, text string) Dot {
	name, counter, _ := strings.Cut(text, ":")
	n, err := strconv.ParseUint(counter, 10, 64)
	if err != nil {
		t.Fatalf("%q is no dot: %v", text, err)
	}
	return dot(name, n)
}

// arg returns the only value of an argument that must be there.
func arg(t *testing.T, d *datadriven.TestData, key string) string {
	vals := list(d, key)
	if len(vals) != 1 {
		t.Fatalf("%s: %s needs %s=, once", d.Pos, d.Cmd, key)
	}
	return vals[0]
}

// list returns the values of an argument, none when it is not there.
func list(d *datadriven.TestData, key string) []string {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			return a.Vals
		}
	}
	return nil
}
