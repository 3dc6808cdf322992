package dynamo

import (
	"crypto/tls"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/runtime"
	"github.com/dynamo-kv/dynamo/internal/server"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

// wiring is what the parts of a node are made with.
type wiring struct {
	Storage storage.Options
	Runtime runtime.Options
	Limits  server.Limits
}

// wired returns the wiring of a node without what is drawn anew each time.
func wired(t *testing.T, c *Config) wiring {
	t.Helper()
	n, err := NewNode("n1", "127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	w := wiring{Storage: n.storage(), Runtime: n.runtimeOptions(&parts{}, storage.Identity{}, nil), Limits: n.limits()}
	w.Runtime.Node.Start, w.Runtime.Node.Seed = 0, 0
	return w
}

// usedElsewhere has the knobs that are no part of a wiring, and the tests of what
// they do.
func usedElsewhere() map[string]string {
	return map[string]string{
		"Transport":           "TestTransports",
		"Seeds":               "TestSeeds",
		"AdvertiseAddr":       "TestAdvertisedAddress",
		"Tracing.Endpoint":    "TestOnePutIsOneTrace",
		"Tracing.SampleRatio": "TestOnePutIsOneTrace",
		"TLS":                 "TestClusterOverTLS",
	}
}

// TestEveryKnobIsWired: every field of a Config reaches what it is for, each a
// place of its own. The tests of the packages where that is say what it does there.
func TestEveryKnobIsWired(t *testing.T) {
	usual := reflect.ValueOf(wired(t, DefaultConfig()))
	places, elsewhere := map[string]string{}, usedElsewhere()
	for name, index := range knobs(reflect.TypeFor[Config](), "", nil) {
		c := DefaultConfig()
		turn(t, name, reflect.ValueOf(c).Elem().FieldByIndex(index))
		where := differences(usual, reflect.ValueOf(wired(t, c)), "")
		if _, ok := elsewhere[name]; ok != (len(where) == 0) {
			t.Errorf("%s changes %v; used elsewhere: %v", name, where, ok)
		}
		delete(elsewhere, name)
		if len(where) != 1 {
			continue // a group that is off, or what several parts go by
		}
		if other := places[where[0]]; other != "" {
			t.Errorf("%s and %s both change %s", name, other, where[0])
		}
		places[where[0]] = name
	}
	for name := range elsewhere {
		t.Errorf("there is no knob %s", name)
	}
}

// knobs returns the fields of a Config and of its groups, by name.
func knobs(of reflect.Type, prefix string, index []int) map[string][]int {
	all := map[string][]int{}
	for i := range of.NumField() {
		f, at := of.Field(i), append(slices.Clone(index), i)
		if f.Type.Kind() != reflect.Struct {
			all[prefix+f.Name] = at
			continue
		}
		maps.Copy(all, knobs(f.Type, prefix+f.Name+".", at))
	}
	return all
}

// turn gives a knob another value that is allowed, where the next one is not.
func turn(t *testing.T, name string, v reflect.Value) {
	t.Helper()
	others := map[string]any{
		"N": 4, "R": 3, "W": 3, "Quorum": QuorumStrict, "Partitions": 512, "StorageEngine": "memory", "StoragePath": t.TempDir(),
		"RecordCacheBytes": int64(0), "MaxMemoryBytes": int64(1 << 20), "Sync": SyncInterval, "Transport": TransportHTTP,
		"Seeds": []string{"127.0.0.1:1"}, "AdvertiseAddr": "127.0.0.1:2", "Zone": "z", "Datacentre": "d",
		"Read.Fanout": FanoutAll, "Metrics.Buckets": []time.Duration{time.Second}, "Tracing.Endpoint": "http://127.0.0.1:3",
		"TLS": &tls.Config{Certificates: []tls.Certificate{{}}}, "Logger": slog.Default(),
	}
	if other, ok := others[name]; ok {
		v.Set(reflect.ValueOf(other))
		return
	}
	switch p := v.Addr().Interface().(type) {
	case *bool:
		*p = !*p
	case *int:
		*p++
	case *int64:
		*p++
	case *uint32:
		*p++
	case *float64:
		*p += 0.05
	case *time.Duration:
		*p += time.Second
	default:
		t.Fatalf("%s is of the type %v", name, v.Type())
	}
}

// differences returns the paths of the fields that differ. Of functions only
// whether there are any can be told.
func differences(a, b reflect.Value, path string) (paths []string) {
	if a.Kind() == reflect.Struct {
		for i := range a.NumField() {
			paths = append(paths, differences(a.Field(i), b.Field(i), path+"."+a.Type().Field(i).Name)...)
		}
		return paths
	}
	same := a.Kind() == reflect.Func && a.IsNil() == b.IsNil()
	if a.Kind() != reflect.Func {
		same = reflect.DeepEqual(a.Interface(), b.Interface())
	}
	if !same {
		paths = append(paths, path)
	}
	return paths
}
