package core_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/histogram"
	"github.com/dynamo-kv/dynamo/internal/id"
)

// fill gives every number that v holds another value, times so much, and every
// histogram as many durations.
func fill(v reflect.Value, next *uint64, times int) {
	if _, ok := reflect.TypeAssert[histogram.Histogram](v); ok {
		h := histogram.New([]time.Duration{time.Second})
		for range times {
			h.Observe(time.Millisecond)
		}
		v.Set(reflect.ValueOf(h))
		return
	}
	*next++
	switch {
	case v.CanUint():
		v.SetUint(*next * uint64(times))
	case v.CanInt():
		v.SetInt(int64(*next) * int64(times))
	case v.Kind() == reflect.String:
		v.SetString(fmt.Sprint("n", *next))
	case v.Kind() == reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), next, times)
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), next, times)
			}
		}
	}
}

func filled[T any](times int) (v T) {
	var next uint64
	fill(reflect.ValueOf(&v).Elem(), &next, times)
	return v
}

// Nothing that is counted gets lost between the machines and whoever asks.
func TestCountersAddUp(t *testing.T) {
	var sum core.Counters
	for times := 1; times <= 2; times++ {
		one := filled[core.Counters](1)
		sum.Add(&one)
		if want := filled[core.Counters](times); !reflect.DeepEqual(sum, want) {
			t.Errorf("added %d times:\n%+v\nwant\n%+v", times, sum, want)
		}
	}
}

func addsUp[T any](t *testing.T, plus func(a, b T) T) {
	t.Helper()
	var zero T
	one, two := filled[T](1), filled[T](2)
	if got := plus(zero, one); !reflect.DeepEqual(got, one) {
		t.Errorf("nothing and %+v is %+v", one, got)
	}
	if got := plus(one, one); !reflect.DeepEqual(got, two) {
		t.Errorf("twice %+v is %+v", one, got)
	}
}

func TestReportsAddUp(t *testing.T) {
	addsUp(t, core.Alarms.Plus)
	addsUp(t, core.CircuitChanges.Plus)
	addsUp(t, core.RepairReport.Plus)
	addsUp(t, core.HintReport.Plus)
	addsUp(t, func(a, b core.Forgetting) core.Forgetting {
		sum := a.Plus(b)
		sum.BlockedSince *= time.Duration(max(1, sum.Reaped/b.Reaped)) // which is no count
		return sum
	})
}

func TestPendingHintsAddUpByTarget(t *testing.T) {
	of := func(pending ...core.HintsPending) core.HintReport { return core.HintReport{Pending: pending} }
	a := of(core.HintsPending{Target: "b", Keys: 1}, core.HintsPending{Target: "d", Keys: 2})
	b := of(core.HintsPending{Target: "a", Keys: 4}, core.HintsPending{Target: "d", Keys: 8}, core.HintsPending{Target: "e", Keys: 16})
	want := of(core.HintsPending{Target: "a", Keys: 4}, core.HintsPending{Target: "b", Keys: 1}, core.HintsPending{Target: "d", Keys: 10},
		core.HintsPending{Target: "e", Keys: 16})
	if got := a.Plus(b); !reflect.DeepEqual(got, want) || !reflect.DeepEqual(b.Plus(a), want) {
		t.Errorf("%+v; want %+v", got, want)
	}
	if a.Pending[1].Keys != 2 || b.Pending[1].Keys != 8 {
		t.Error("a sum changes what it adds up")
	}
}

// Of two blockers the one of longer standing is shown.
func TestBlockerOfLongerStandingIsShown(t *testing.T) {
	for _, c := range []struct {
		a, b, want id.Node
		since      time.Duration
	}{
		{"", "", "", 0}, {"x", "", "x", 1}, {"", "y", "y", 2}, {"x", "y", "x", 1},
	} {
		a, b := core.Forgetting{Blocker: c.a}, core.Forgetting{Blocker: c.b}
		if c.a != "" {
			a.BlockedSince = 1
		}
		if c.b != "" {
			b.BlockedSince = 2
		}
		for _, got := range []core.Forgetting{a.Plus(b), b.Plus(a)} {
			if got.Blocker != c.want || got.BlockedSince != c.since {
				t.Errorf("of %+v and %+v shown %+v", a, b, got)
			}
		}
	}
}

// What a drain has gathered is not held by the next one.
func TestResetLetsGoOfAllEffects(t *testing.T) {
	var out core.Out
	v := reflect.ValueOf(&out).Elem()
	for _, f := range v.Fields() {
		if f.Kind() == reflect.Slice {
			one := reflect.MakeSlice(f.Type(), 1, 1)
			var next uint64
			fill(one.Index(0), &next, 1)
			f.Set(one)
		}
	}
	out.Failed = errors.New("failed")
	out.Reset()
	for field, f := range v.Fields() {
		name := field.Name
		switch {
		case f.Kind() != reflect.Slice:
			if !f.IsZero() {
				t.Errorf("%s is %v", name, f)
			}
		case f.Len() != 0 || f.Cap() != 1 || !f.Slice(0, 1).Index(0).IsZero():
			t.Errorf("%s has %d effects of %d, the first %+v", name, f.Len(), f.Cap(), f.Slice(0, f.Cap()))
		}
	}
}

// Metrics and status show names: each has one of its own.
func TestEverythingHasAName(t *testing.T) {
	var all [][]fmt.Stringer
	named := func(from, to int, of func(i int) fmt.Stringer) {
		var names []fmt.Stringer
		for i := from; i < to; i++ {
			names = append(names, of(i))
		}
		all = append(all, names)
	}
	named(1, core.Ops, func(i int) fmt.Stringer { return core.Op(i) })
	named(1, core.Codes, func(i int) fmt.Stringer { return core.Code(i) })
	named(0, core.QuorumKinds, func(i int) fmt.Stringer { return core.QuorumKind(i) })
	named(0, core.QuorumResults, func(i int) fmt.Stringer { return core.QuorumResult(i) })
	named(0, core.Limits, func(i int) fmt.Stringer { return core.LimitName(i) })
	named(0, int(core.CircuitHalfOpen)+1, func(i int) fmt.Stringer { return core.CircuitState(i) })
	named(0, int(core.RoomFull)+1, func(i int) fmt.Stringer { return core.RoomState(i) })
	named(0, int(core.Dead)+1, func(i int) fmt.Stringer { return core.Status(i) })
	named(1, int(core.Left)+1, func(i int) fmt.Stringer { return core.State(i) })
	named(0, int(core.PhaseDone)+1, func(i int) fmt.Stringer { return core.Phase(i) })
	named(1, int(core.RefusedStorageFull)+1, func(i int) fmt.Stringer { return core.Refusal(i) })
	named(1, int(core.Unknown)+1, func(i int) fmt.Stringer { return core.Outcome(i) })
	for _, names := range all {
		seen := map[string]bool{"": true, "unknown op": true, "unknown refusal": true}
		if _, outcome := names[0].(core.Outcome); !outcome {
			seen["unknown"] = true
		}
		for i, n := range names {
			if seen[n.String()] {
				t.Errorf("%T number %d is called %q, as another one", n, i, n)
			}
			seen[n.String()] = true
		}
	}
}
