package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	yamlv3 "go.yaml.in/yaml/v3"

	"github.com/dynamo-kv/dynamo"
)

// envPrefix stands before the environment variables of settings:
// DYNAMO_REQUEST_TIMEOUT is --request-timeout.
const envPrefix = "DYNAMO_"

// settings is everything that dynamo serve can be told. Every field of
// dynamo.Config is one of them, under its name in kebab-case, and so is every
// field of its groups, behind the group's name; flagNames has the few that are
// shorter.
type settings struct {
	id, listen string
	config     *dynamo.Config
	tls        security // which is files here, and not in dynamo.Config
	log        logging
	debug      string // where the debugging server listens; empty: nowhere
	file       string
	print      bool
}

// flagNames has the flags that are not named after their field.
func flagNames() map[string]string {
	return map[string]string{
		"StorageEngine": "engine", "StoragePath": "data", "Seeds": "join",
		"TombstoneTTL": "tombstone-ttl",
	}
}

// usages says what each field of dynamo.Config is, with units. That of a group
// is Group.Field.
func usages() map[string]string {
	return map[string]string{
		"N":                   "nodes that hold each key, 1 to 16; fixed when a cluster is formed",
		"R":                   "replicas that must answer a read, 1 to n",
		"W":                   "replicas that must have stored a write, 1 to n",
		"Partitions":          "slices that the keys are divided into, a power of two; fixed when a cluster is formed",
		"StorageEngine":       "storage engine: pebble, lss, bolt, badger, or memory, which forgets all at the end",
		"StoragePath":         "data directory; empty is dynamo-data/ID in the working directory",
		"CacheBytes":          "cache of the storage engine, in bytes",
		"RecordCacheBytes":    "cache of the records of keys in use, in bytes, at least 1048576; 0 is off",
		"MaxMemoryBytes":      "most that the memory engine may take for what it holds, in bytes, at least 1048576; 0 is no limit",
		"ScrubInterval":       "time in which all that is stored is read and checked, 1m to 8760h; 0 is off; only lss does so",
		"Sync":                "when a write counts as stored: always (on the disk) or interval (on the disk within a second)",
		"RequestTimeout":      "time that a request has unless it says otherwise, 1ms to 1m",
		"PeerTimeout":         "time that a node has to answer another before the next is asked, up to request-timeout",
		"MaxValueBytes":       "largest value, in bytes, up to 16777216",
		"Shards":              "event loops that share the partitions; 0 is one for each core, at least 2",
		"Transport":           "how this node sends to others: grpc, or http (JSON, slower); every node understands both",
		"Seeds":               "addresses of nodes whose cluster a new node joins, separated by commas",
		"AdvertiseAddr":       "host:port at which other nodes reach this one; empty is the listening address",
		"Zone":                "what fails as one, a rack or a room; replicas are in distinct zones where possible",
		"Weight":              "share of the keys relative to other nodes', at least 1",
		"GossipInterval":      "pause between two exchanges of news about the cluster, 10ms to 1m",
		"SuspectPhi":          "how surprising a node's silence must be to suspect it: -log10 of its probability, below dead-phi",
		"DeadPhi":             "how surprising a node's silence must be to hold it for dead, up to 100",
		"LayoutAuto":          "give partitions to new nodes without a command",
		"ForceServe":          "serve data that may be an old copy without asking other members; for once, where they are lost",
		"LayoutDelay":         "time without a change of members before partitions move, up to 1h",
		"AntiEntropyInterval": "time within which two nodes compare what both hold, 10ms to 24h; 0 is off",
		"Quorum":              "who counts: sloppy (others may stand in for owners that cannot be reached) or strict (owners only)",
		"MaxHintBytes":        "most that is kept for other nodes that cannot be reached, in bytes, at least 1048576",
		"TombstoneTTL":        "time for which all nodes must agree on a deleted key before they forget it, at least 7m",
		"TombstoneInterval":   "pause between two looks for deleted keys that may be forgotten, 1s to 24h",

		"CircuitBreaker.Enabled":             "do not call a node that has not answered for a while",
		"CircuitBreaker.FailureThreshold":    "failed calls in a row after which a node is not called any more, 1 to 1000",
		"CircuitBreaker.ResetTimeout":        "time after which such a node is tried again, 100ms to 1h",
		"CircuitBreaker.HalfOpenMaxRequests": "probes with which it is tried, at once, 1 to 100",
		"CircuitBreaker.SuccessThreshold":    "probes that must be answered for it to be called again, up to circuit-breaker-half-open-max-requests",
		"Retry.Enabled":                      "repeat calls that another node has not answered, where that is safe",
		"Retry.MaxRetries":                   "how often a call is repeated at most, 0 to 10",
		"Retry.InitialDelay":                 "pause before the first retry, 1ms to retry-max-delay",
		"Retry.Multiplier":                   "by what the pause grows with each retry, 1 to 10",
		"Retry.Jitter":                       "share by which pauses vary, up and down, 0 to 1",
		"Retry.MaxDelay":                     "longest pause, after its jitter, up to 1m",
		"CoordinatorSelection.Enabled":       "ask the owner of a key first that is known to be the fastest",
		"CoordinatorSelection.Window":        "response times that are kept of each node, 10 to 1000",
		"CoordinatorSelection.MaxAge":        "time for which they count, 1s to 24h",
		"CoordinatorSelection.ProbeShare":    "share of requests beside which an owner is tried that was not chosen, 0 to 1",
		"Read.Fanout":                        "owners that a read asks: quorum (r of them) or all (at once)",
		"Read.Hedge":                         "ask one more owner when those that were asked are slower than usual",

		"Admission.Enabled":          "let slow requests slow background work down",
		"Admission.LatencyThreshold": "p99 of requests above which background work is slowed down, 1ms to 1m",
		"Admission.MinSlots":         "pieces of background work that always may run at once, 1 to admission-max-slots",
		"Admission.MaxSlots":         "pieces of background work that may run at once while requests are fast, up to 1024",
		"Admission.Window":           "latest requests that the p99 is of, 10 to 100000",
		"Admission.BytesPerSecond":   "bytes a second that background work may move with all slots, at least 65536 for each",
		"Room.Enabled":               "measure the room that is left on the disk, or in memory, and refuse writes while there is none",
		"Room.LowBytes":              "room at which a node warns: bytes of its disk or memory that are left, at least room-full-bytes",
		"Room.LowShare":              "the same as a share of the whole, whichever is less: room-full-share to less than 1",
		"Room.FullBytes":             "room at which a node takes no more writes but deletes: bytes that are left, 0 and more",
		"Room.FullShare":             "the same as a share of the whole, whichever is less: 0 to room-low-share",
		"Metrics.Enabled":            "answer at /metrics, and measure how long things take",
		"Metrics.Buckets":            "upper bounds of the buckets of histograms, separated by commas, 1 to 64, ascending, up to 1h",
		"Datacentre":                 "where the node stands, for people: status shows it, and nothing else goes by it yet",
		"Tracing.Endpoint":           "URL of an OpenTelemetry collector that takes OTLP over gRPC, http://host:port or https://host:port; empty is off",
		"Tracing.SampleRatio":        "share of the requests that are traced where nobody else has decided, 0 to 1",
	}
}

// register adds the flags of all settings to a command, with the defaults.
func (s *settings) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&s.id, "id", "", "name of this node, stable over restarts and unique in its cluster (required)")
	flags.StringVar(&s.listen, "listen", defaultAddr, "host:port for clients and other nodes; port 0 chooses a free one")
	s.config = dynamo.DefaultConfig()
	config := reflect.ValueOf(s.config).Elem()
	for _, field := range configFields() {
		register(flags, config.FieldByIndex(field.Index).Addr().Interface(), flagName(field.Name), usages()[field.Name])
	}
	s.tls.registerNode(cmd)
	s.log.register(cmd)
	flags.StringVar(&s.debug, "debug-addr", "", "host:port on loopback that answers /debug/pprof for this machine; empty is off")
	flags.StringVar(&s.file, "config", "", "YAML file with settings, named as the flags are")
	flags.BoolVar(&s.print, "print-config", false, "print the settings as they would be used, as YAML, and end")
}

// configFields returns the fields of dynamo.Config that are settings, those of
// its groups with the name Group.Field.
func configFields() []reflect.StructField {
	var fields []reflect.StructField
	for _, f := range reflect.VisibleFields(reflect.TypeFor[dynamo.Config]()) {
		switch {
		case f.Name == "Logger", f.Name == "TLS": // which no text can give; for TLS there are files
		case f.Type.Kind() == reflect.Struct:
			for _, inner := range reflect.VisibleFields(f.Type) {
				inner.Name = f.Name + "." + inner.Name
				inner.Index = append(slices.Clone(f.Index), inner.Index...)
				fields = append(fields, inner)
			}
		default:
			fields = append(fields, f)
		}
	}
	return fields
}

// flagName returns the flag of a field: RequestTimeout is request-timeout,
// Metrics.Enabled is metrics-enabled.
func flagName(field string) string {
	if name, ok := flagNames()[field]; ok {
		return name
	}
	var b strings.Builder
	begins := true
	for _, r := range field {
		switch {
		case r == '.':
			b.WriteByte('-')
		case unicode.IsUpper(r) && !begins:
			b.WriteByte('-')
			fallthrough
		default:
			b.WriteRune(unicode.ToLower(r))
		}
		begins = r == '.'
	}
	return b.String()
}

// register adds a flag for what target points to, which holds the default.
func register(flags *pflag.FlagSet, target any, name, usage string) {
	switch p := target.(type) {
	case *int:
		flags.IntVar(p, name, *p, usage)
	case *int64:
		flags.Int64Var(p, name, *p, usage)
	case *uint32:
		flags.Uint32Var(p, name, *p, usage)
	case *float64:
		flags.Float64Var(p, name, *p, usage)
	case *bool:
		flags.BoolVar(p, name, *p, usage)
	case *string:
		flags.StringVar(p, name, *p, usage)
	case *time.Duration:
		flags.DurationVar(p, name, *p, usage)
	case *[]time.Duration:
		flags.DurationSliceVar(p, name, *p, usage)
	case *[]string:
		flags.StringSliceVar(p, name, *p, usage)
	default:
		panic(fmt.Sprintf("the setting %s has the type %T, which no flag has", name, target))
	}
}

// commandOnly are the flags that no file and no environment may set.
func commandOnly() []string { return []string{"config", "print-config", "help"} }

// load takes over what the file and the environment say, as far as the
// command line has not said it: flags come first, then the environment, then
// the file, then the defaults.
func (s *settings) load(cmd *cobra.Command) error {
	given := map[string]bool{}
	cmd.Flags().Visit(func(f *pflag.Flag) { given[f.Name] = true })
	environment, unknown, err := readEnvironment(cmd.Flags())
	if err != nil {
		return usagef(cmd, "the environment: %v", err)
	}
	for _, name := range unknown {
		cmd.PrintErrf("dynamo: warning: the environment variable %s is no setting and is ignored\n", name)
	}
	if path, ok := environment["config"].(string); ok && !given["config"] {
		s.file = path
	}
	delete(environment, "config")
	if s.file != "" {
		values, err := readFile(s.file)
		if err != nil {
			return usagef(cmd, "%v", err)
		}
		if err := apply(cmd.Flags(), values, given); err != nil {
			return usagef(cmd, "%s: %v", s.file, err)
		}
	}
	if err := apply(cmd.Flags(), environment, given); err != nil {
		return usagef(cmd, "the environment: %v", err)
	}
	return nil
}

// readFile returns the settings in a YAML file.
func readFile(path string) (map[string]any, error) {
	k := koanf.New("\x00") // a delimiter that no key has: settings do not nest
	if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no file %s", path)
		}
		why := strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n ", "")
		return nil, fmt.Errorf("%s is no file of settings, which has lines such as 'request-timeout: 300ms': %s", path, why)
	}
	return k.Raw(), nil
}

// readEnvironment returns the settings in the environment, and the names of
// the variables that look like one and are none. Those are no error: others
// name variables after a service called dynamo too.
func readEnvironment(flags *pflag.FlagSet) (values map[string]any, unknown []string, err error) {
	k := koanf.New("\x00")
	err = k.Load(env.Provider("\x00", env.Opt{Prefix: envPrefix, TransformFunc: func(name, value string) (string, any) {
		key := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, envPrefix)), "_", "-")
		switch {
		case key == "config" || flags.Lookup(key) != nil && !slices.Contains(commandOnly(), key):
			return key, value
		case key != "addr": // which is for the clients
			unknown = append(unknown, name)
		}
		return "", nil
	}}), nil)
	slices.Sort(unknown)
	return k.Raw(), unknown, err
}

// apply sets the flags that are not given on the command line.
func apply(flags *pflag.FlagSet, values map[string]any, given map[string]bool) error {
	var faults []error
	for _, name := range sortedKeys(values) {
		f := flags.Lookup(name)
		if f == nil || slices.Contains(commandOnly(), name) {
			faults = append(faults, fmt.Errorf("there is no setting %q; they are named as the flags of 'dynamo serve'", name))
			continue
		}
		if given[name] {
			continue
		}
		text, err := scalar(values[name])
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
			continue
		}
		if set(f, text) != nil {
			faults = append(faults, badValue(f, text))
		}
	}
	return errors.Join(faults...)
}

// set replaces the value of a flag, that of a list too.
func set(f *pflag.Flag, text string) error {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		var items []string
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, item)
			}
		}
		return list.Replace(items)
	}
	return f.Value.Set(text)
}

// scalar returns a value of a YAML file as its flag would be given.
func scalar(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", errors.New("it has no value")
	case map[string]any:
		return "", errors.New("it has settings below it, which no setting has")
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			text, err := scalar(item)
			if err != nil {
				return "", err
			}
			items[i] = text
		}
		return strings.Join(items, ","), nil
	}
	return fmt.Sprint(v), nil
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// inFlags returns what is wrong with a Config, a fault a line, with the names
// of its fields as the flags have them.
func inFlags(err error) string {
	names := make([]string, 0, len(usages()))
	for field := range usages() { // order does not matter: they are whole words
		names = append(names, regexp.QuoteMeta(field))
	}
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) }) // a field of a group before one of the same name
	fields := regexp.MustCompile(`\b(` + strings.Join(names, "|") + `)\b`)
	text := fields.ReplaceAllStringFunc(err.Error(), flagName)
	kind := dynamo.ErrInvalidConfig.Error() + ": "
	return dynamo.ErrInvalidConfig.Error() + ":\n  " +
		strings.ReplaceAll(strings.ReplaceAll(text, kind, ""), "\n", "\n  ")
}

// yaml returns the settings as a file that --config takes.
func (s *settings) yaml(cmd *cobra.Command) ([]byte, error) {
	doc := &yamlv3.Node{Kind: yamlv3.MappingNode}
	var err error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if slices.Contains(commandOnly(), f.Name) || err != nil {
			return
		}
		var value yamlv3.Node
		if err = value.Encode(valueOf(f)); err == nil {
			key := &yamlv3.Node{Kind: yamlv3.ScalarNode, Value: f.Name, HeadComment: "# " + f.Usage}
			doc.Content = append(doc.Content, key, &value)
		}
	})
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	e := yamlv3.NewEncoder(&out)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(doc), e.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// valueOf returns a flag's value as YAML shows it.
func valueOf(f *pflag.Flag) any {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return list.GetSlice()
	}
	text := f.Value.String()
	switch f.Value.Type() {
	case "int", "int64", "uint32", "float64", "bool":
		return &yamlv3.Node{Kind: yamlv3.ScalarNode, Value: text} // plain, not quoted
	}
	return text
}
