package storagetest

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

// processDir is the variable that makes a test the process to be killed, and
// says where its engine is.
const processDir = "DYNAMO_STORAGETEST_PROCESS_DIR"

// Process kills real processes (SIGKILL) while they commit, loops times, and
// looks what each has left: every batch whose synced completion it had told of,
// and a whole prefix of all batches. It is for engines that cannot run on a
// disk of package vfs. A kill takes away what is in the process's memory, not
// what the system has been given and not synced; so this finds acknowledgements
// that come too early and recoveries that fail, and not an fsync that is missing.
//
// open opens the engine in a folder of the directory, and makes it if it is not
// there. The process is the test's own binary, in which the test of this name
// calls Process again.
func Process(t *testing.T, loops int, open func(t testing.TB, dir string) storage.Engine) {
	if dir := os.Getenv(processDir); dir != "" {
		commitForever(t, open(t, dir))
	}
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(11, 12))
	last := 0
	for range loops {
		synced := killProcess(t, dir, 1+rng.IntN(60))
		e := open(t, dir)
		last = checkSteps(t, e, max(synced, last))
		mustClose(t, e)
		if t.Failed() {
			break
		}
	}
	t.Logf("%d processes were killed; batch %d is the last that is left", loops, last)
}

// killProcess starts a process, kills it when it has told of some synced
// batches, and returns the last one that it has told of until its end.
func killProcess(t *testing.T, dir string, after int) (synced int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), processDir+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	heard := 0
	var said []string
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "synced %d", &synced); err != nil {
			said = append(said, lines.Text())
			continue
		}
		if heard++; heard == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || heard < after {
		t.Fatalf("the process ended by itself after %d batches: %v\n%s%s", heard, err, strings.Join(said, "\n"), stderr.String())
	}
	return synced
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

// commitForever commits steps until the process is killed, and says which of
// them are durable. Every third need not be.
func commitForever(t *testing.T, e storage.Engine) {
	const ahead = 8 // batches that wait for their completion at once
	done := 0
	if last, ok := get(t, e, "last"); ok {
		if _, err := fmt.Sscan(last, &done); err != nil {
			t.Fatal(err)
		}
	}
	slots := make(chan struct{}, ahead)
	for n := done + 1; ; n++ {
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
