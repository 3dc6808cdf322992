package storagetest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

// What makes a test the process to be killed: where its engine is, which of the
// lives of the directory it is, and how many batches must be there.
const (
	processDir   = "DYNAMO_STORAGETEST_PROCESS_DIR"
	processLife  = "DYNAMO_STORAGETEST_PROCESS_LIFE"
	processLeast = "DYNAMO_STORAGETEST_PROCESS_LEAST"
)

// Process kills real processes (SIGKILL), loops of them: most while they
// commit, some while they start. Every one looks what the one before has left,
// and now and then one stops in order: every batch whose synced completion was
// told of must be there, and what is there is a whole prefix of all batches. A
// kill takes away what is in the process's memory, not what the system has been
// given and not synced; so this finds acknowledgements that come too early and
// recoveries that fail, and not an fsync that is missing. It returns how many
// batches the processes told of.
//
// open opens the engine in a folder of the directory, and makes it if it is not
// there; each life has a number of its own. The process is the test's own
// binary, in which the test of this name calls Process again.
func Process(t *testing.T, loops int, open func(t testing.TB, dir string, life uint64) storage.Engine) (synced int) {
	if dir := os.Getenv(processDir); dir != "" {
		live(t, dir, open)
	}
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(11, 12))
	starts, least, life := 0, 0, uint64(0)
	for i := range loops {
		p := killed{dir: dir, life: life, least: least, after: 1 + rng.IntN(60), delay: time.Duration(rng.Int64N(int64(maxDelay)))}
		if rng.IntN(5) == 0 {
			p.after = 0
			starts++
		}
		told := p.run(t)
		life++
		least = max(least, told.last)
		synced += told.count
		if rng.IntN(4) > 0 && i < loops-1 {
			continue // the next process starts from what this one has left
		}
		e := open(t, dir, life)
		life++
		least = checkSteps(t, e, least)
		mustClose(t, e)
		if t.Failed() {
			break
		}
	}
	t.Logf("%d processes were killed, %d of them in the first %v of their life; %d synced batches that they told of were there; batch %d is the last",
		loops, starts, maxDelay, synced, least)
	return synced
}

// maxDelay is how long after its beginning a process is killed, at most, if it
// is not to be killed after a number of batches: as long as a start takes on a
// busy machine.
const maxDelay = 40 * time.Millisecond

// killed is a process that is killed when it has told of some synced batches,
// or for 0 of them a moment after its beginning.
type killed struct {
	dir   string
	life  uint64
	least int
	after int
	delay time.Duration
}

// told is what a process has said until its end.
type told struct{ count, last int }

func (k killed) run(t *testing.T) (heard told) {
	t.Helper()
	var timer *time.Timer // of a process that is to end while it starts
	end, said := Spawn(t, []string{
		processDir + "=" + k.dir, fmt.Sprintf("%s=%d", processLife, k.life), fmt.Sprintf("%s=%d", processLeast, k.least),
	}, func(line string, kill func()) bool {
		if line == "begins" && k.after == 0 {
			timer = time.AfterFunc(k.delay, kill)
		}
		if _, err := fmt.Sscanf(line, "synced %d", &heard.last); err != nil {
			return false
		}
		if heard.count++; heard.count == k.after {
			kill()
		}
		return true
	})
	if timer != nil {
		timer.Stop()
	}
	if end.ExitCode() != -1 { // of a signal
		t.Fatalf("the process of life %d ended by itself after %d batches: %v\n%s", k.life, heard.count, end, said)
	}
	return heard
}

// live is the life of a process that is to be killed.
func live(t *testing.T, dir string, open func(t testing.TB, dir string, life uint64) storage.Engine) {
	fmt.Println("begins")
	var life uint64
	var least int
	if _, err := fmt.Sscan(os.Getenv(processLife)+" "+os.Getenv(processLeast), &life, &least); err != nil {
		t.Fatal(err)
	}
	e := open(t, dir, life)
	last := checkSteps(t, e, least)
	if t.Failed() {
		t.FailNow()
	}
	commitForever(e, last)
}

// stepKeys is how many keys the steps of commitForever take turns with.
const stepKeys = 40

// step is batch n of a process: what is found after it tells how far it came.
func step(n int) []core.Write {
	return []core.Write{
		set("last", fmt.Sprint(n)),
		set(fmt.Sprintf("key %02d", n%stepKeys), stepValue(n)),
		set("last again", fmt.Sprint(n)),
	}
}

// stepValue is small, or large enough for several pages and a value log.
func stepValue(n int) string {
	size := 5
	if n%7 == 0 {
		size = 6000
	}
	return strings.Repeat(fmt.Sprintf("%d,", n), size)
}

// commitForever commits the steps after the last one until the process is
// killed, and says which of them are durable. Every third need not be.
func commitForever(e storage.Engine, last int) {
	const ahead = 8 // batches that wait for their completion at once
	slots := make(chan struct{}, ahead)
	for n := last + 1; ; n++ {
		slots <- struct{}{}
		d := core.Sync
		if n%3 == 0 {
			d = core.NoSync
		}
		e.Commit(step(n), d, func(err error) {
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(3)
			}
			if d == core.Sync {
				fmt.Printf("synced %d\n", n)
			}
			<-slots
		})
	}
}

// checkSteps checks that the engine holds a whole prefix of the steps, not
// less than least of them, and returns how many.
func checkSteps(t *testing.T, e storage.Engine, least int) (last int) {
	t.Helper()
	text, ok := get(t, e, "last")
	if _, err := fmt.Sscan(text, &last); ok && err != nil {
		t.Fatalf("a damaged value: %v", err)
	}
	if last < least {
		t.Errorf("batch %d is the last that is left, and %d were durable", last, least)
	}
	want := make(model)
	for n := max(1, last-stepKeys+1); n <= last; n++ {
		want = want.apply(step(n))
	}
	if err := equal(all(t, e), want.pairs(nil, nil)); err != nil {
		t.Errorf("what is left is not batches 1 to %d: %v", last, err)
	}
	return last
}
