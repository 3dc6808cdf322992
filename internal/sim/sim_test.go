package sim_test

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/sim"
)

var (
	seedFlag  = flag.Uint64("sim.seed", 1, "the seed that TestSeed runs")
	hoursFlag = flag.Int("sim.hours", 0, "the cluster-hours that TestHours runs; 0: a few")
	traceFlag = flag.String("sim.trace", "", "the file that TestSeed writes its trace to")
)

func TestSeed(t *testing.T) {
	plan := sim.NewPlan(*seedFlag, time.Hour)
	t.Log(plan)
	var r *sim.Report
	if *traceFlag != "" {
		f, err := os.Create(*traceFlag)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r = sim.Run(plan, f)
	} else {
		r = sim.Run(plan, nil)
	}
	t.Logf("trace %016x\n%v", r.TraceHash, &r.Stats)
	for _, v := range r.Violations {
		t.Error(v)
	}
}

func TestHours(t *testing.T) {
	hours := *hoursFlag
	if hours == 0 {
		hours = 20
	}
	var total sim.Stats
	for seed := range uint64(hours) {
		r := sim.Run(sim.NewPlan(*seedFlag+seed, time.Hour), nil)
		total.Add(&r.Stats)
		for _, v := range r.Violations {
			t.Errorf("seed %d: %v", *seedFlag+seed, v)
		}
	}
	t.Logf("%v", &total)
}
