package sim_test

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/sim"
)

// The flags of this package's tests.
var (
	seedFlag  = flag.Uint64("sim.seed", 1, "the seed that TestSeed runs, and the first one of TestHours")
	onlyFlag  = flag.String("sim.only", "", "the numbers of the faults that TestSeed keeps, with commas in between; all if empty")
	traceFlag = flag.String("sim.trace", "", "the file that TestSeed writes its trace to, for people to read")
	hoursFlag = flag.Int("sim.hours", 0, "the cluster-hours that TestHours runs, one a seed; 0: a few")
	// Growth is drawn by the run, not by the hour: shorter runs have more.
	lengthFlag = flag.Duration("sim.length", time.Hour, "the length of a seed's run")
)

const (
	// defaultHours are what every test run affords, also with -race.
	defaultHours = 24
	// enoughHours are those in which everything that can go wrong must have.
	enoughHours = 20

	// rareHours are those in which also that must have happened which takes
	// several losses at once.
	rareHours = 300
	// shrinkTries bounds the runs that are spent on making a failure smaller.
	shrinkTries = 150
)

// regressions are seeds that failed once, with what they found.
func regressions() map[uint64]string {
	return map[uint64]string{
		2011: "a read showed the version of its own copy that was not durable, when others made up its quorum",
		209:  "the checker of blocking reads did not expect a disk to be lost between an owner's word and the answer",
		846:  "the times were taken for calm right after a fault that had gone on until everything healed",
		1177: "a leftover that came back while its partition was being handed over stayed for good",
		1373: "a forward whose layout changed was executed again by an owner at which it had failed, and minted twice",
		650:  "a forward whose layout changed was sent to an owner's next start, which minted it as well",
		1793: "a forward that the next start of its receiver had refused was sent to that one again, and minted twice",
		497:  "the context of a repeated Overwrite did not cover what it had replaced, and the checker did not count what that had replaced in turn",
		222:  "an acknowledgement of a request before a crash was taken for one of the request after it that had the same ID",
		22:   "the simulator took what a lost disk had held for restored while no node was up",
		12:   "the context of a repeated Overwrite-delete covered what was written after its first execution",
	}
}

// shortRegressions are the same of runs of a quarter of an hour, which have more
// growth for their length.
func shortRegressions() map[uint64]string {
	return map[uint64]string{
		31024: "the simulator took a node for whole whose lost hints had been nowhere else",
		31096: "a fallback filled the place of an owner that its hint of the same write was not for",
	}
}

// TestSeed replays one seed and says everything about it.
func TestSeed(t *testing.T) {
	plan := only(t, sim.NewPlan(*seedFlag, *lengthFlag), *onlyFlag)
	var text io.Writer
	if *traceFlag != "" {
		f, err := os.Create(*traceFlag)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
		text = f
	}
	r := sim.Run(plan, text)
	t.Logf("%v\ntrace %016x\n%v", plan, r.TraceHash, &r.Stats)
	check(t, r)
}

// only returns the plan with those of its faults that are listed.
func only(t *testing.T, plan *sim.Plan, list string) *sim.Plan {
	t.Helper()
	if list == "" {
		return plan
	}
	var keep []int
	for part := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil {
			t.Fatalf("-sim.only: %v; use numbers of faults with commas in between, such as 3,17", err)
		}
		keep = append(keep, n)
	}
	return plan.Without(func(i int) bool { return !slices.Contains(keep, i) })
}

// TestRegressions replays the seeds that failed once.
func TestRegressions(t *testing.T) {
	for seed, what := range regressions() {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			t.Log(what)
			check(t, sim.Run(sim.NewPlan(seed, time.Hour), nil))
		})
	}
	for seed, what := range shortRegressions() {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			t.Log(what)
			check(t, sim.Run(sim.NewPlan(seed, 15*time.Minute), nil))
		})
	}
}

// TestHours runs seed after seed, an hour each, on every core.
func TestHours(t *testing.T) {
	hours := *hoursFlag
	if hours == 0 {
		hours = defaultHours
	}
	began := time.Now()
	reports := runAll(int(time.Duration(hours) * time.Hour / *lengthFlag))
	var total sim.Stats
	for _, r := range reports {
		total.Add(&r.Stats)
		if r.Failed() && t.Failed() {
			t.Errorf("%v\n  %v", r.Plan, r.Violations[0])
		} else {
			check(t, r)
		}
	}
	took := time.Since(began)
	t.Logf("\n%v  %-12s %v, %.1f cluster-hours a second on %d cores", &total, "real time", took.Round(time.Millisecond), total.Hours()/took.Seconds(), runtime.GOMAXPROCS(0))
	if hours >= enoughHours {
		checkVacuity(t, &total)
	}
}

func runAll(runs int) []*sim.Report {
	reports := make([]*sim.Report, runs)
	var wg sync.WaitGroup
	for worker := range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := worker; i < runs; i += runtime.GOMAXPROCS(0) {
				reports[i] = sim.Run(sim.NewPlan(*seedFlag+uint64(i), *lengthFlag), nil)
			}
		})
	}
	wg.Wait()
	return reports
}

// check reports a run that failed: its seed, what broke, the fewest faults
// that break it, and the commands that replay it.
func check(t *testing.T, r *sim.Report) {
	t.Helper()
	if !r.Failed() {
		return
	}
	checker := r.Checkers()[0]
	shrunk := sim.Shrink(r.Plan, shrinkTries, func(p *sim.Plan) bool {
		return slices.Contains(sim.Run(p, nil).Checkers(), checker)
	})
	var b strings.Builder
	fmt.Fprintf(&b, "%v\n", r.Plan)
	for _, v := range r.Violations {
		fmt.Fprintf(&b, "  %v\n", v)
	}
	fmt.Fprintf(&b, "  %d of its %d faults are enough for [%s]:\n", len(shrunk.Faults), len(r.Plan.Faults), checker)
	numbers := make([]string, 0, len(shrunk.Faults))
	for _, f := range shrunk.Faults {
		fmt.Fprintf(&b, "    %v\n", f)
		numbers = append(numbers, strconv.Itoa(f.Number))
	}
	if r.Plan.Length == time.Hour {
		fmt.Fprintf(&b, "  replay: make sim SEED=%d\n", r.Plan.Seed)
	}
	fmt.Fprintf(&b, "  with those alone: go test ./internal/sim -run TestSeed -v -sim.seed=%d -sim.length=%v -sim.only=%s -sim.trace=trace.txt\n",
		r.Plan.Seed, r.Plan.Length, cmp.Or(strings.Join(numbers, ","), "-1"))
	t.Error(b.String())
}

// checkVacuity fails where nothing has happened of something that must have.
func checkVacuity(t *testing.T, s *sim.Stats) {
	t.Helper()
	must := map[string]uint64{
		"gets": s.Operations[core.OpGet], "puts": s.Operations[core.OpPut], "deletes": s.Operations[core.OpDelete],
		"blind puts": s.Blind, "writes with a read's context": s.ByRead, "writes with a write's context": s.ByPut,
		"overwrites": s.Overwrites, "retries": s.Retries, "gets with siblings": s.Siblings,
		"writes minted more than once": s.MintedTwice, "lost replies": s.RepliesLost, "spans": s.Spans,
		"keys reaped amid faults": s.ReapedAmid, "keys written again after they were reaped": s.Recreated,
		"clock entries pruned": s.Pruned, "cancelled rounds": s.Cancelled,
		"restarts": s.Restarts, "transitions": s.Transitions, "nodes that joined": s.Joined,
		"growths under faults": s.GrowthUnderFault, "faults in transitions": s.FaultsInTransition,
		"crashes": s.Disk.Crashes, "dropped unsynced batches": s.Disk.Dropped, "kept unsynced batches": s.Disk.Survived,
		"torn tails": s.Disk.Torn, "lost messages": s.Network.Lost, "cut messages": s.Network.Cut,
		"duplicated messages": s.Network.Duplicated, "delayed messages": s.Network.Delayed,
		"suspected peers": s.Suspected, "dead peers that were down": s.RightlyDead, "dead peers that were not": s.FalselyDead,
		"peers that were alive again": s.Revived, "failures noticed for certain": s.Noticed,
		"exchanges of anti-entropy": s.Trees.Exchanges, "partitions that differed": s.Trees.Differing, "keys repaired": s.Trees.Repaired,
		"trees built": s.Trees.Built, "trees saved": s.Trees.Saved, "trees loaded": s.Trees.Loaded,
		"refused messages": s.Network.Refused, "messages to the dead": s.Network.ToTheDead,
		"hints taken": s.Hints.Taken, "markers": s.Hints.Marked, "hints settled": s.Hints.Settled,
		"hints refused for want of room": s.Hints.Refused, "versions minted into hints": s.Hints.Minted,
		"sets refused for want of room": s.Room.Refused, "writes that nobody has room for": s.Room.Turned,
		"deletes on full nodes":         s.Room.Deletes,
		"writes that counted fallbacks": s.Hints.Writes, "reads that counted fallbacks": s.Hints.Reads,
		"keys made equal by hints alone": s.Hints.Equal,
		"read repairs":                   s.Repairs.Sent, "read repairs of the own copy": s.Repairs.Own, "read repairs dropped": s.Repairs.Dropped,
		"blocking gets": s.Repairs.Blocking, "blocking gets that waited": s.Repairs.Waited, "gets that must not go back": s.Repairs.Checked,
		"breakers opened": s.Circuits.Opened, "breakers closed again": s.Circuits.Closed, "breakers opened by a probe": s.Circuits.Reopened,
		"disks wiped": s.Losses.Wiped, "young copies put back": s.Losses.Young, "old copies put back": s.Losses.Old,
		"starts that waited for word of a disk": s.Losses.Doubted, "disks set aside": s.Losses.SetAside,
		"versions on lost disks": s.Losses.Mints,
		"waits for slots":        s.SlotWaits, "views with fewer slots": s.Throttled,
	}
	if s.Hours() >= rareHours {
		must["acknowledged versions lost with their disks"] = s.Losses.Exempt
	}
	for _, outcome := range []string{"get ok", "get not_found", "put ok", "put quorum unknown", "put timeout unknown", "put stopped not_written", "put too_many_siblings not_written", "delete ok"} {
		must[outcome] = s.Results[outcome]
	}
	for k, n := range s.Faults {
		must["faults of the kind "+sim.FaultKind(k).String()] = n
	}
	for what, n := range must {
		if n == 0 {
			t.Errorf("%.0f cluster-hours had no %s", s.Hours(), what)
		}
	}
	if perHour := float64(s.Total()) / s.Hours(); perHour < 2000 {
		t.Errorf("%.0f operations a cluster-hour; at least 2000 are needed", perHour)
	}
	if perHour := float64(s.FaultTotal()) / s.Hours(); perHour < 20 {
		t.Errorf("%.0f faults a cluster-hour; at least 20 are needed", perHour)
	}
}

// TestTraceHash runs seeds twice: the same seed gives the same trace, to the
// byte, and another one gives another.
func TestTraceHash(t *testing.T) {
	seen := make(map[uint64]uint64)
	for seed := range uint64(4) {
		a := sim.Run(sim.NewPlan(seed, 20*time.Minute), nil)
		b := sim.Run(sim.NewPlan(seed, 20*time.Minute), io.Discard)
		if a.TraceHash != b.TraceHash || a.Steps != b.Steps {
			t.Errorf("seed %d: %d steps with the trace %016x, then %d with %016x", seed, a.Steps, a.TraceHash, b.Steps, b.TraceHash)
		}
		if other, ok := seen[a.TraceHash]; ok {
			t.Errorf("seeds %d and %d have the same trace", other, seed)
		}
		seen[a.TraceHash] = seed
	}
}
