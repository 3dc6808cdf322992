package storagetest

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Spawn runs the test that calls it in another process, of the test's own
// binary, with more in its environment, and calls heard with each line that it
// prints: heard may have it killed (SIGKILL), and says whether the line was meant
// for it. Spawn returns how the process has ended and, for who did not expect
// that, what it said besides.
func Spawn(t testing.TB, env []string, heard func(line string, kill func()) bool) (end *os.ProcessState, said string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), env...)
	var other strings.Builder
	cmd.Stderr = &other
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func() { _ = cmd.Process.Kill() } // if it has ended by itself, its state says so
	var lines []string
	for s := bufio.NewScanner(stdout); s.Scan(); {
		if !heard(s.Text(), kill) {
			lines = append(lines, s.Text())
		}
	}
	_ = cmd.Wait() // its state says more
	return cmd.ProcessState, strings.Join(append(lines, other.String()), "\n")
}
