package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commands are all of them but what cobra brings for shells.
func commands(from *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{from}
	for _, c := range from.Commands() {
		if c.Name() != "completion" {
			all = append(all, commands(c)...)
		}
	}
	return all
}

func helpOf(t *testing.T, cmd *cobra.Command) string {
	t.Helper()
	var out bytes.Buffer
	cmd.SetOut(&out)
	if err := cmd.Help(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// Help fits into any terminal, and tells of each flag what it takes and what it
// means.
func TestHelp(t *testing.T) {
	for _, cmd := range commands(newRoot()) {
		help := helpOf(t, cmd)
		for line := range strings.SplitSeq(help, "\n") {
			if n := utf8.RuneCountInString(line); n > helpWidth {
				t.Errorf("%s: a line has %d columns: %s", cmd.CommandPath(), n, line)
			}
		}
		flat := strings.Join(strings.Fields(help), " ")
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			want := strings.Join(strings.Fields(flagText(f)+" "+meaning(f)), " ")
			if shown := strings.Contains(flat, want); shown == f.Hidden {
				t.Errorf("%s: it is %v that %q is shown", cmd.CommandPath(), shown, want)
			}
		})
		switch cmd.Name() {
		case "dynamo", "version", "help", "exit-codes":
		default:
			if cmd.Example == "" {
				t.Errorf("%s has no example", cmd.CommandPath())
			}
		}
	}
}

func TestWrapped(t *testing.T) {
	for text, want := range map[string]string{
		"":                   "",
		"one":                "one",
		"one two":            "one two",
		"one two three":      "one two\nthree",
		"longer-than-that a": "longer-than-that\na",
	} {
		if got := wrapped(text, 7); got != want {
			t.Errorf("%q is wrapped to %q, want %q", text, got, want)
		}
	}
}

// A put that waits for its value ends with the first interrupt, and stores
// nothing.
func TestPutIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	in, typing := io.Pipe()
	defer func() { _ = typing.Close() }()
	cmd := newRoot()
	cmd.SetArgs([]string{"put", "key"})
	cmd.SetIn(in)
	cancel()
	err := cmd.ExecuteContext(ctx)
	if e, ok := errors.AsType[*exitError](err); !ok || e.code != exitNotDone || !strings.Contains(e.Error(), "nothing was stored") {
		t.Errorf("it ends with %v", err)
	}
}
