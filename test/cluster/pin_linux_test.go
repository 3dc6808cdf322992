package cluster

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// onCore calls f on a thread that runs on one core alone, and so do processes
// that f starts: their Go runtimes see a machine of one core.
func onCore(tb testing.TB, core int, f func()) {
	tb.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		tb.Fatal(err)
	}
	set := only(core)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		tb.Fatal(fmt.Errorf("core %d cannot be had; the benchmark needs two: %w", core, err))
	}
	defer func() { _ = unix.SchedSetaffinity(0, &before) }()
	f()
}

func only(core int) (set unix.CPUSet) {
	set.Set(core)
	return set
}

// moveToCore has this process run on one core, until the test ends.
func moveToCore(tb testing.TB, core int) {
	tb.Helper()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		tb.Fatal(err)
	}
	set, most := only(core), runtime.GOMAXPROCS(1)
	moveThreads(tb, &set)
	tb.Cleanup(func() {
		runtime.GOMAXPROCS(most)
		moveThreads(tb, &before)
	})
}

// moveThreads moves all threads that there are: later ones are their children.
func moveThreads(tb testing.TB, set *unix.CPUSet) {
	tb.Helper()
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		tb.Fatal(err)
	}
	for _, t := range threads {
		if id, err := strconv.Atoi(t.Name()); err == nil {
			_ = unix.SchedSetaffinity(id, set) // one that has ended needs none
		}
	}
}
