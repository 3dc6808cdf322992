package runtime_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/runtime"
	"github.com/dynamo-kv/dynamo/internal/storage/memory"
	"github.com/dynamo-kv/dynamo/internal/transport/memnet"
)

// foreground has callers put for a while, with all replicas, and returns how long
// each put took, sorted.
func foreground(t *testing.T, all []*member, length time.Duration) []time.Duration {
	t.Helper()
	const callers, pause = 8, 2 * time.Millisecond
	took := make([][]time.Duration, callers)
	done := make(chan struct{})
	end := time.Now().Add(length)
	for c := range callers {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := c; time.Now().Before(end); i += callers {
				began := time.Now()
				r := all[c%2].Do(t.Context(), &core.Request{
					Op: core.OpPut, Key: fmt.Appendf(nil, "foreground-%d", i%997), Value: []byte("v"),
					Options: core.Options{Overwrite: true, W: 3},
				}, 2*time.Second)
				if r.Outcome != core.Written {
					t.Errorf("put: %v", r.Code)
				}
				took[c] = append(took[c], time.Since(began))
				<-time.After(pause)
			}
		}()
	}
	for range callers {
		<-done
	}
	sorted := slices.Concat(took...)
	slices.Sort(sorted)
	return sorted
}

func p99(sorted []time.Duration) time.Duration { return sorted[len(sorted)*99/100] }

// repair has a node lose its disk, and a load run beside the anti-entropy that
// brings its keys back. It returns the p99 before and meanwhile.
func repair(t *testing.T, admit bool, target time.Duration) (alone, beside time.Duration) {
	t.Helper()
	const keys, length = 8_000, 3 * time.Second / 2
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New(1)
		all := members(t, network, func(o *runtime.Options) {
			o.Engine = laboured{o.Engine}
			o.Node.Admit, o.Node.Admission.Target = admit, target
		})
		for i := range keys {
			all[i%3].put(t, i)
		}
		alone = p99(foreground(t, all, length))
		lost := all[2]
		if err := lost.Stop(); err != nil {
			t.Fatal(err)
		}
		lost.store = memory.New()
		lost.wiped++
		lost.start(t, network, 2)
		// Its trees are there, and every pair is at it.
		held := func() int {
			n, _ := lost.data(t)
			return n
		}
		for held() < keys/10 {
			<-time.After(10 * time.Millisecond)
		}
		before := held()
		took := foreground(t, all, length)
		beside = p99(took)
		moved := held() - before
		b := all[0].Status().Background
		t.Logf("admission %v: p99 %v alone, %v beside anti-entropy (p50 %v), %d puts, %d keys came back meanwhile; %d slots, p99 known as %v, %d waits",
			admit, alone, beside, took[len(took)/2], len(took), moved, b.Slots, b.P99, b.Waits)
		if moved < keys/10 || held() >= keys {
			t.Errorf("%d of %d keys came back meanwhile, to %d: that shows nothing", moved, keys, held())
		}
		// With nobody asking for anything, all slots come back, and it comes to its
		// end.
		await(t, lost.Runtime, func(s core.ClusterStatus) bool { return held() >= keys && !s.Background.Throttled() })
	})
	return alone, beside
}

// TestAdmissionKeepsRequestsFast: the same load beside a full anti-entropy, with
// admission and without, in virtual time.
func TestAdmissionKeepsRequestsFast(t *testing.T) {
	alone, off := repair(t, false, time.Second)
	_, on := repair(t, true, 2*alone)
	if on > off/2 {
		t.Errorf("p99 %v with admission, %v without", on, off)
	}
}
