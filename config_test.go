package dynamo

import (
	"crypto/tls"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestDefaultConfigIsValid(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the default configuration is refused: %v", err)
	}
	if _, err := NewNode("n1", "127.0.0.1:0", nil); err != nil {
		t.Errorf("a nil configuration is refused: %v", err)
	}
}

func TestValidateFindsEachFault(t *testing.T) {
	tests := []struct {
		field  string
		change func(*Config)
		says   []string // the value and what is allowed
	}{
		{"N", func(c *Config) { c.N, c.R, c.W = 0, 0, 0 }, []string{"N is 0", "1 to 16"}},
		{"N", func(c *Config) { c.N = 17 }, []string{"N is 17", "1 to 16"}},
		{"R", func(c *Config) { c.R = 4 }, []string{"R is 4", "which is 3"}},
		{"R", func(c *Config) { c.R = 0 }, []string{"R is 0"}},
		{"W", func(c *Config) { c.W = -1 }, []string{"W is -1", "which is 3"}},
		{"Quorum", func(c *Config) { c.Quorum = "loose" }, []string{`"loose"`, "sloppy and strict"}},
		{"MaxHintBytes", func(c *Config) { c.MaxHintBytes = 0 }, []string{"MaxHintBytes is 0", "1048576"}},
		{"Partitions", func(c *Config) { c.Partitions = 1000 }, []string{"Partitions is 1000", "65536"}},
		{"Partitions", func(c *Config) { c.Partitions = 1 << 17 }, []string{"131072", "65536"}},
		{"Partitions", func(c *Config) { c.Partitions = 0 }, []string{"Partitions is 0"}},
		{"Shards", func(c *Config) { c.Shards = -1 }, []string{"Shards is -1", "0 to 4095"}},
		{"Shards", func(c *Config) { c.Shards = 4096 }, []string{"Shards is 4096"}},
		{"StorageEngine", func(c *Config) { c.StorageEngine = "rocks" }, []string{`"rocks"`, "pebble, lss, bolt, badger, memory"}},
		{"StoragePath", func(c *Config) { c.StoragePath = "a\x00b" }, []string{"NUL"}},
		{"RecordCacheBytes", func(c *Config) { c.RecordCacheBytes = 5 }, []string{"RecordCacheBytes is 5", "0", "1048576"}},
		{"CacheBytes", func(c *Config) { c.CacheBytes = 10 }, []string{"CacheBytes is 10", "1048576"}},
		{"CacheBytes", func(c *Config) { c.CacheBytes = 1 << 62 }, []string{"CacheBytes is 4611686018427387904", "1099511627776"}},
		{"ScrubInterval", func(c *Config) { c.ScrubInterval = time.Second }, []string{"ScrubInterval is 1s", "0s, which is off", "1m0s to 8760h"}},
		{"ScrubInterval", func(c *Config) { c.ScrubInterval = -1 }, []string{"ScrubInterval is -1ns"}},
		{"ScrubInterval", func(c *Config) { c.ScrubInterval = 8761 * time.Hour }, []string{"ScrubInterval is 8761h"}},
		{"MaxMemoryBytes", func(c *Config) { c.MaxMemoryBytes = -1 }, []string{"MaxMemoryBytes is -1", "1048576"}},
		{"MaxMemoryBytes", func(c *Config) { c.MaxMemoryBytes = 1000 }, []string{"MaxMemoryBytes is 1000"}},
		{"Room.LowBytes", func(c *Config) { c.Room.LowBytes = 1 }, []string{"Room.LowBytes is 1", "which is 2147483648"}},
		{"Room.LowShare", func(c *Config) { c.Room.LowShare = 1 }, []string{"Room.LowShare is 1", "less than 1"}},
		{"Room.LowShare", func(c *Config) { c.Room.LowShare = math.NaN() }, []string{"NaN"}},
		{"Room.FullBytes", func(c *Config) { c.Room.FullBytes = -1 }, []string{"Room.FullBytes is -1"}},
		{"Room.FullShare", func(c *Config) { c.Room.FullShare = 0.5 }, []string{"Room.FullShare is 0.5", "which is 0.15"}},
		{"Room.FullShare", func(c *Config) { c.Room.FullShare = -1 }, []string{"Room.FullShare is -1"}},
		{"Sync", func(c *Config) { c.Sync = "never" }, []string{`"never"`, "always and interval"}},
		{"RequestTimeout", func(c *Config) { c.RequestTimeout = 2 * time.Minute }, []string{"2m0s", "1ms to 1m0s"}},
		{"PeerTimeout", func(c *Config) { c.PeerTimeout = 3 * time.Second }, []string{"3s", "which is 2s"}},
		{"PeerTimeout", func(c *Config) { c.PeerTimeout = 0 }, []string{"PeerTimeout is 0s", "1ms"}},
		{"MaxValueBytes", func(c *Config) { c.MaxValueBytes = 1 << 30 }, []string{"1073741824", "1 to 16777216"}},
		{"Transport", func(c *Config) { c.Transport = "udp" }, []string{`"udp"`, "grpc and http"}},
		{"Seeds", func(c *Config) { c.Seeds = []string{"host"} }, []string{`"host"`, "host:port"}},
		{"Seeds", func(c *Config) { c.Seeds = []string{"host:0"} }, []string{`"host:0"`, "1 to 65535"}},
		{"Seeds", func(c *Config) { c.Seeds = []string{"host:http"} }, []string{`"host:http"`, "1 to 65535"}},
		{"Seeds", func(c *Config) { c.Seeds = []string{"0.0.0.0:1"} }, []string{`"0.0.0.0:1"`, "names no machine"}},
		{"Seeds", func(c *Config) { c.Seeds = make([]string, 257) }, []string{"257", "at most 256"}},
		{"AdvertiseAddr", func(c *Config) { c.AdvertiseAddr = "[::]:7171" }, []string{`"[::]:7171"`, "names no machine"}},
		{"AdvertiseAddr", func(c *Config) { c.AdvertiseAddr = strings.Repeat("h", 254) + ":7171" }, []string{"254 bytes", "at most 253"}},
		{"Zone", func(c *Config) { c.Zone = strings.Repeat("z", 65) }, []string{"64 bytes"}},
		{"Zone", func(c *Config) { c.Zone = "\xff" }, []string{"UTF-8"}},
		{"Datacentre", func(c *Config) { c.Datacentre = strings.Repeat("d", 65) }, []string{"64 bytes"}},
		{"Datacentre", func(c *Config) { c.Datacentre = "\xff" }, []string{"UTF-8"}},
		{"Tracing.SampleRatio", func(c *Config) { c.Tracing.SampleRatio = 1.5 }, []string{"Tracing.SampleRatio is 1.5", "0 to 1"}},
		{"Tracing.SampleRatio", func(c *Config) { c.Tracing.SampleRatio = math.NaN() }, []string{"NaN"}},
		{"Tracing.Endpoint", func(c *Config) { c.Tracing.Endpoint = "127.0.0.1:4317" }, []string{`"127.0.0.1:4317"`, "http://host:port"}},
		{"Tracing.Endpoint", func(c *Config) { c.Tracing.Endpoint = "ftp://collector:1" }, []string{`"ftp://collector:1"`}},
		{"Tracing.Endpoint", func(c *Config) { c.Tracing.Endpoint = "http://" }, []string{`"http://"`}},
		{"Tracing.Endpoint", func(c *Config) { c.Tracing.Endpoint = "http://collector:4317/v1" }, []string{"/v1"}},
		{"Tracing.Endpoint", func(c *Config) { c.Tracing.Endpoint = "http://collector" }, []string{`"http://collector"`, "http://host:port"}},
		{"Tracing.Endpoint", func(c *Config) { c.Tracing.Endpoint = "http://collector:4317?a=b" }, []string{"a=b"}},
		{"TLS", func(c *Config) { c.TLS = &tls.Config{MinVersion: tls.VersionTLS13} }, []string{"no certificate"}},
		{"TLS", func(c *Config) { c.TLS = &tls.Config{MinVersion: tls.VersionTLS13, ServerName: "db"} }, []string{`"db"`, "leave it empty"}},
		{"Weight", func(c *Config) { c.Weight = 0 }, []string{"Weight is 0", "1 to 65536"}},
		{"GossipInterval", func(c *Config) { c.GossipInterval = time.Millisecond }, []string{"1ms", "10ms to 1m0s"}},
		{"SuspectPhi", func(c *Config) { c.SuspectPhi = 8 }, []string{"SuspectPhi is 8", "DeadPhi, which is 8"}},
		{"SuspectPhi", func(c *Config) { c.SuspectPhi = math.NaN() }, []string{"SuspectPhi is NaN"}},
		{"DeadPhi", func(c *Config) { c.DeadPhi = 1000 }, []string{"DeadPhi is 1000", "up to 100"}},
		{"AntiEntropyInterval", func(c *Config) { c.AntiEntropyInterval = -time.Second }, []string{"-1s", "0s, which is off", "10ms to 24h0m0s"}},
		{"AntiEntropyInterval", func(c *Config) { c.AntiEntropyInterval = time.Millisecond }, []string{"1ms"}},
		{"AntiEntropyInterval", func(c *Config) { c.AntiEntropyInterval = 25 * time.Hour }, []string{"25h0m0s"}},
		{"LayoutDelay", func(c *Config) { c.LayoutDelay = -1 }, []string{"-1ns", "1h0m0s"}},
		{"TombstoneTTL", func(c *Config) { c.TombstoneTTL = 7*time.Minute - 1 }, []string{"6m59.999999999s", "7m0s to"}},
		{"TombstoneTTL", func(c *Config) { c.TombstoneTTL = 1 << 62 }, []string{"8760h0m0s"}},
		{"TombstoneInterval", func(c *Config) { c.TombstoneInterval = 0 }, []string{"1s to 24h0m0s"}},
		{"CircuitBreaker.FailureThreshold", func(c *Config) { c.CircuitBreaker.FailureThreshold = 0 }, []string{" is 0", "1 to 1000"}},
		{"CircuitBreaker.ResetTimeout", func(c *Config) { c.CircuitBreaker.ResetTimeout = time.Millisecond }, []string{"1ms", "100ms to 1h0m0s"}},
		{"CircuitBreaker.HalfOpenMaxRequests", func(c *Config) { c.CircuitBreaker.HalfOpenMaxRequests = 101 }, []string{"101", "1 to 100"}},
		{"CircuitBreaker.SuccessThreshold", func(c *Config) { c.CircuitBreaker.SuccessThreshold = 4 }, []string{" is 4", "which is 3"}},
		{"Retry.MaxRetries", func(c *Config) { c.Retry.MaxRetries = -1 }, []string{"-1", "0 to 10"}},
		{"Retry.InitialDelay", func(c *Config) { c.Retry.InitialDelay = 6 * time.Second }, []string{"6s", "which is 5s"}},
		{"Retry.Multiplier", func(c *Config) { c.Retry.Multiplier = 0.5 }, []string{"0.5", "1 to 10"}},
		{"Retry.Multiplier", func(c *Config) { c.Retry.Multiplier = math.NaN() }, []string{"NaN"}},
		{"Retry.Jitter", func(c *Config) { c.Retry.Jitter = 1.5 }, []string{"1.5", "0 to 1"}},
		{"Retry.MaxDelay", func(c *Config) { c.Retry.MaxDelay = time.Hour }, []string{"1h0m0s", "1ms to 1m0s"}},
		{"CoordinatorSelection.Window", func(c *Config) { c.CoordinatorSelection.Window = 1 }, []string{" is 1", "10 to 1000"}},
		{"CoordinatorSelection.MaxAge", func(c *Config) { c.CoordinatorSelection.MaxAge = 0 }, []string{"0s", "1s to 24h0m0s"}},
		{"CoordinatorSelection.ProbeShare", func(c *Config) { c.CoordinatorSelection.ProbeShare = -0.1 }, []string{"-0.1", "0 to 1"}},
		{"Read.Fanout", func(c *Config) { c.Read.Fanout = "some" }, []string{`"some"`, "quorum and all"}},
		{"Metrics.Buckets", func(c *Config) { c.Metrics.Buckets = nil }, []string{"0 bounds", "1 to 64"}},
		{"Metrics.Buckets", func(c *Config) { c.Metrics.Buckets = make([]time.Duration, 65) }, []string{"65 bounds", "1 to 64"}},
		{"Metrics.Buckets", func(c *Config) { c.Metrics.Buckets = []time.Duration{0} }, []string{"0s", "1h0m0s"}},
		{"Metrics.Buckets", func(c *Config) { c.Metrics.Buckets = []time.Duration{2 * time.Hour} }, []string{"2h0m0s", "1h0m0s"}},
		{"Metrics.Buckets", func(c *Config) { c.Metrics.Buckets = []time.Duration{2, 1} }, []string{"1ns after 2ns", "ascend"}},
		{"Metrics.Buckets", func(c *Config) { c.Metrics.Buckets = []time.Duration{1, 1} }, []string{"1ns after 1ns", "each once"}},
	}
	tests = append(tests, []struct {
		field  string
		change func(*Config)
		says   []string
	}{
		{"Admission.LatencyThreshold", func(c *Config) { c.Admission.LatencyThreshold = 0 }, []string{"is 0s", "1ms to 1m0s"}},
		{"Admission.LatencyThreshold", func(c *Config) { c.Admission.LatencyThreshold = time.Hour }, []string{"1h0m0s"}},
		{"Admission.MinSlots", func(c *Config) { c.Admission.MinSlots = 0 }, []string{"MinSlots is 0", "which is 10"}},
		{"Admission.MinSlots", func(c *Config) { c.Admission.MinSlots = 11 }, []string{"MinSlots is 11"}},
		{"Admission.MaxSlots", func(c *Config) { c.Admission.MaxSlots = 0 }, []string{"MaxSlots is 0", "1 to 1024"}},
		{"Admission.MaxSlots", func(c *Config) { c.Admission.MaxSlots = 2000 }, []string{"MaxSlots is 2000"}},
		{"Admission.Window", func(c *Config) { c.Admission.Window = 9 }, []string{"Window is 9", "10 to 100000"}},
		{"Admission.BytesPerSecond", func(c *Config) { c.Admission.BytesPerSecond = 1 << 10 }, []string{"is 1024", "at least 65536"}},
	}...)
	// Those have no wrong value.
	checked := map[string]bool{"LayoutAuto": true, "ForceServe": true, "Logger": true, "Admission.Enabled": true, "Metrics.Enabled": true, "Room.Enabled": true}
	for _, group := range []string{"CircuitBreaker.Enabled", "Retry.Enabled", "CoordinatorSelection.Enabled", "Read.Hedge"} {
		checked[group] = true
	}
	for _, test := range tests {
		checked[test.field] = true
		c := DefaultConfig()
		test.change(c)
		err := c.Validate()
		if !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("%s: %v is not ErrInvalidConfig", test.field, err)
			continue
		}
		for _, want := range append(test.says, test.field) {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error does not say %q: %v", test.field, want, err)
			}
		}
	}
	for _, name := range fieldNames(reflect.TypeFor[Config](), "") {
		if !checked[name] {
			t.Errorf("no test gives a wrong value to %s", name)
		}
	}
}

// fieldNames returns the fields of a struct; those of a group are Group.Field.
func fieldNames(t reflect.Type, prefix string) (names []string) {
	for _, field := range reflect.VisibleFields(t) {
		if field.Type.Kind() == reflect.Struct {
			names = append(names, fieldNames(field.Type, field.Name+".")...)
		} else {
			names = append(names, prefix+field.Name)
		}
	}
	return names
}

func TestAllFaultsAtOnce(t *testing.T) {
	_, err := NewNode("n~1", ":7171", &Config{})
	if !errors.Is(err, ErrInvalidConfig) {
		t.Fatalf("%v is not ErrInvalidConfig", err)
	}
	for _, want := range []string{
		"n~1", "AdvertiseAddr", "N is 0", "R is 0", "W is 0", "Partitions is 0", "StorageEngine", "CacheBytes", "Sync",
		"RequestTimeout", "PeerTimeout", "MaxValueBytes", "Weight", "GossipInterval", "SuspectPhi", "DeadPhi",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
	if err := (*Config)(nil).Validate(); !errors.Is(err, ErrInvalidConfig) {
		t.Errorf("a nil Config: %v", err)
	}
}

func TestListeningAddresses(t *testing.T) {
	tests := []struct {
		listen, advertise string
		ok                bool
	}{
		{"127.0.0.1:0", "", true},
		{"localhost:7171", "", true},
		{"[::1]:7171", "", true},
		{"0.0.0.0:7171", "", false},
		{"[::]:7171", "", false},
		{":7171", "", false},
		{":7171", "db1.example:7171", true},
		{"0.0.0.0:0", "127.0.0.1:0", true},
		{"127.0.0.1", "", false},
		{"127.0.0.1:x", "", false},
		{"127.0.0.1:70000", "", false},
		{"", "", false},
	}
	for _, test := range tests {
		c := DefaultConfig()
		c.AdvertiseAddr = test.advertise
		_, err := NewNode("n1", test.listen, c)
		if (err == nil) != test.ok || err != nil && !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("listening on %q as %q: %v", test.listen, test.advertise, err)
		}
	}
}

func TestConfigIsCopied(t *testing.T) {
	c := DefaultConfig()
	c.Seeds = []string{"127.0.0.1:1"}
	n, err := NewNode("n1", "127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	c.N, c.Seeds[0] = 7, "changed"
	if n.cfg.N != 3 || n.cfg.Seeds[0] != "127.0.0.1:1" {
		t.Errorf("the node goes by what its caller changed later: %+v", n.cfg)
	}
}
