package dynamo

import (
	"reflect"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/runtime"
)

// Every knob of these groups reaches the machines, each a place of its own. The
// tests of the packages breaker, guard, latency, membership and coordinator say
// what it does there.
func TestEveryKnobOfCallingReachesTheMachines(t *testing.T) {
	optionsOf := func(c *Config) runtime.Options {
		var o runtime.Options
		c.calling(&o)
		return o
	}
	usual := optionsOf(DefaultConfig())
	seen := map[string]string{}
	for _, group := range []string{"CircuitBreaker", "Retry", "CoordinatorSelection", "Read"} {
		fields := reflect.ValueOf(*DefaultConfig()).FieldByName(group).Type()
		for i := range fields.NumField() {
			name := group + "." + fields.Field(i).Name
			c := DefaultConfig()
			changeKnob(t, reflect.ValueOf(c).Elem().FieldByName(group).Field(i))
			o := optionsOf(c)
			where := differences(reflect.ValueOf(usual.Node), reflect.ValueOf(o.Node), "")
			if len(where) == 0 {
				t.Errorf("%s changes nothing", name)
			}
			if len(where) != 1 {
				continue // a group that is off
			}
			if other := seen[where[0]]; other != "" {
				t.Errorf("%s and %s both change %s", name, other, where[0])
			}
			seen[where[0]] = name
		}
	}
}

func changeKnob(t *testing.T, v reflect.Value) {
	t.Helper()
	switch p := v.Addr().Interface().(type) {
	case *bool:
		*p = !*p
	case *int:
		*p++
	case *float64:
		*p += 0.1
	case *time.Duration:
		*p += time.Second
	case *string:
		*p = FanoutAll
	default:
		t.Fatalf("a knob of type %v", v.Type())
	}
}

// differences returns the paths of the fields that differ.
func differences(a, b reflect.Value, path string) (paths []string) {
	if a.Kind() == reflect.Struct {
		for i := range a.NumField() {
			paths = append(paths, differences(a.Field(i), b.Field(i), path+"."+a.Type().Field(i).Name)...)
		}
		return paths
	}
	if !reflect.DeepEqual(a.Interface(), b.Interface()) {
		paths = append(paths, path)
	}
	return paths
}
