package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dynamo-kv/dynamo"
)

// loaded returns the settings that serve would use.
func loaded(t *testing.T, args ...string) (*settings, *cobra.Command, error) {
	t.Helper()
	var s settings
	cmd := &cobra.Command{Use: "serve"}
	s.register(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	cmd.SetErr(&bytes.Buffer{})
	err := s.load(cmd)
	return &s, cmd, err
}

func TestEveryFieldIsAFlag(t *testing.T) {
	s, cmd, err := loaded(t)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(dynamo.DefaultConfig(), s.config); diff != "" {
		t.Errorf("the defaults of the flags are not those of the library (-want +got):\n%s", diff)
	}
	fields := configFields()
	if want := leaves(reflect.TypeFor[dynamo.Config]()) - 2; len(fields) != want {
		t.Errorf("%d fields are flags, want all %d but the logger and TLS", len(fields), want)
	}
	for _, field := range fields {
		f := cmd.Flags().Lookup(flagName(field.Name))
		if f == nil || f.Usage == "" {
			t.Errorf("%s has no flag, or one without a usage", field.Name)
		}
	}
	if len(usages()) != len(fields) {
		t.Errorf("%d usages for %d fields", len(usages()), len(fields))
	}
	for _, name := range []string{"id", "listen", "data", "engine", "join", "config", "print-config", "request-timeout"} {
		if cmd.Flags().Lookup(name) == nil {
			t.Errorf("there is no --%s", name)
		}
	}
}

// leaves counts the fields of a struct, those of structs in it each.
func leaves(t reflect.Type) (n int) {
	for f := range t.Fields() {
		if f.Type.Kind() == reflect.Struct {
			n += leaves(f.Type)
		} else {
			n++
		}
	}
	return n
}

func TestFlagNames(t *testing.T) {
	for field, want := range map[string]string{
		"RequestTimeout": "request-timeout", "N": "n", "StorageEngine": "engine", "StoragePath": "data",
		"Seeds": "join", "MaxValueBytes": "max-value-bytes",
		"Admission.LatencyThreshold": "admission-latency-threshold",
		"Metrics.Enabled":            "metrics-enabled", "Metrics.MaxAge": "metrics-max-age",
	} {
		if got := flagName(field); got != want {
			t.Errorf("%s is --%s, want --%s", field, got, want)
		}
	}
}

func writeConfig(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dynamo.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrecedence(t *testing.T) {
	path := writeConfig(t, "id: file\nn: 5\nr: 4\nw: 4\nrequest-timeout: 5s\nlayout-auto: false\njoin: [a:1, b:2]\nzone: 17\n")
	t.Setenv("DYNAMO_R", "3")
	t.Setenv("DYNAMO_W", "3")
	t.Setenv("DYNAMO_GOSSIP_INTERVAL", "250ms")
	t.Setenv("DYNAMO_CONFIG", path)
	s, _, err := loaded(t, "--w", "2")
	if err != nil {
		t.Fatal(err)
	}
	want := dynamo.DefaultConfig()
	want.N, want.R, want.W = 5, 3, 2
	want.RequestTimeout, want.GossipInterval = 5*time.Second, 250*time.Millisecond
	want.LayoutAuto, want.Seeds, want.Zone = false, []string{"a:1", "b:2"}, "17"
	if diff := cmp.Diff(want, s.config); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if s.id != "file" {
		t.Errorf("the id is %q", s.id)
	}
}

func TestListsAreReplaced(t *testing.T) {
	path := writeConfig(t, "join: [a:1, b:2]\n")
	t.Setenv("DYNAMO_JOIN", "c:3, d:4")
	s, _, err := loaded(t, "--config", path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"c:3", "d:4"}, s.config.Seeds); diff != "" {
		t.Errorf("the environment (-want +got):\n%s", diff)
	}
	if s, _, err = loaded(t, "--config", path, "--join", "e:5"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"e:5"}, s.config.Seeds); diff != "" {
		t.Errorf("the flag (-want +got):\n%s", diff)
	}
}

func TestFaultsOfFileAndEnvironment(t *testing.T) {
	tests := []struct {
		name, file, env string
		says            []string
	}{
		{"unknown settings", "reqest-timeout: 1s\nprint-config: true\n", "", []string{`"reqest-timeout"`, `"print-config"`}},
		{"several faults", "n: three\nrequest-timeout: 5\nlayout-auto: perhaps\n", "", []string{
			`n is "three"; a whole number is allowed`, `request-timeout is "5"; a time with its unit, as in 300ms, 2s or 1m, is allowed`,
			`layout-auto is "perhaps"; true and false are allowed`,
		}},
		{"no value", "n:\n", "", []string{"no value"}},
		{"nested", "n:\n  m: 1\n", "", []string{"below it"}},
		{"no YAML", "n: [1\n", "", []string{"dynamo.yaml is no file of settings", "line 1"}},
		{"a list", "- n: 1\n", "", []string{"which has lines such as 'request-timeout: 300ms'", "line 1"}},
		{"a setting twice", "n: 1\nn: 2\n", "", []string{"already defined at line 1"}},
		{"the environment", "", "many", []string{"the environment", "weight", `"many"`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.env != "" {
				t.Setenv("DYNAMO_WEIGHT", test.env)
			}
			_, _, err := loaded(t, "--config", writeConfig(t, test.file))
			if err == nil {
				t.Fatal("it is accepted")
			}
			for _, want := range test.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
		})
	}
	if _, _, err := loaded(t, "--config", filepath.Join(t.TempDir(), "none.yaml")); err == nil || !strings.Contains(err.Error(), "there is no file") {
		t.Errorf("a file that does not exist: %v", err)
	}
}

// Others name variables after a service called dynamo: they are told of, and
// no error.
func TestForeignVariables(t *testing.T) {
	t.Setenv("DYNAMO_SERVICE_HOST", "10.0.0.1")
	t.Setenv("DYNAMO_ADDR", "10.0.0.1:7171")
	_, cmd, err := loaded(t)
	if err != nil {
		t.Fatal(err)
	}
	said := cmd.ErrOrStderr().(*bytes.Buffer).String()
	if !strings.Contains(said, "DYNAMO_SERVICE_HOST") || strings.Contains(said, "DYNAMO_ADDR") {
		t.Errorf("the warning is %q", said)
	}
}

// What --print-config prints is a file that gives the same settings.
func TestPrintedConfigCanBeFedBack(t *testing.T) {
	first, cmd, err := loaded(t, "--id", "n1", "--listen", "127.0.0.1:0", "--n", "5", "--zone", "true", "--join", "a:1,b:2",
		"--layout-auto=false", "--data", "with: colon # and more", "--log-level", "info", "--weight", "7", "--cache-bytes", "2000000")
	if err != nil {
		t.Fatal(err)
	}
	printed, err := first.yaml(cmd)
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := loaded(t, "--config", writeConfig(t, string(printed)))
	if err != nil {
		t.Fatalf("%v:\n%s", err, printed)
	}
	ignore := cmpopts.IgnoreFields(settings{}, "file", "print")
	if diff := cmp.Diff(first, second, cmp.AllowUnexported(settings{}, security{}, logging{}), ignore, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("settings (-first +second):\n%s\n%s", diff, printed)
	}
}

var update = flag.Bool("update", false, "write the table of settings into docs/cli.md")

// The table of settings in the documentation is the one of the flags.
func TestDocumentedSettings(t *testing.T) {
	const begin, end = "<!-- settings: begin -->\n", "<!-- settings: end -->\n"
	path := filepath.Join("..", "..", "docs", "cli.md")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(content), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no %s", path, begin)
	}
	want := settingsTable(t)
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, table); diff != "" {
		t.Errorf("run go test ./cmd/dynamo -run TestDocumentedSettings -update (-want +got):\n%s", diff)
	}
}

// settingsTable returns the table in Markdown.
func settingsTable(t *testing.T) string {
	t.Helper()
	_, cmd, err := loaded(t)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for _, f := range configFields() {
		fields[flagName(f.Name)] = "`" + f.Name + "`"
	}
	var b strings.Builder
	b.WriteString("| flag | environment | `dynamo.Config` | default | meaning |\n|---|---|---|---|---|\n")
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" {
			return
		}
		variable := "`" + envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_")) + "`"
		if slices.Contains(commandOnly(), f.Name) && f.Name != "config" {
			variable = ""
		}
		value := "`" + f.DefValue + "`"
		if f.DefValue == "" || f.DefValue == "[]" {
			value = ""
		}
		fmt.Fprintf(&b, "| `--%s` | %s | %s | %s | %s |\n", f.Name, variable, fields[f.Name], value, f.Usage)
	})
	return b.String()
}

// The exit codes in the documentation are those of the program.
func TestDocumentedExitCodes(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("..", "..", "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(content), exitCodes) {
		t.Errorf("docs/cli.md does not have the text of 'dynamo help exit-codes':\n%s", exitCodes)
	}
}
