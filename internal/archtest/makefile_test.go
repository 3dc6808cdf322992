package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNothingConcurrentIsSparedTheRaceDetector holds the list PURE of the Makefile,
// whose tests run without the race detector, to packages that are pure and to the
// simulator, whose runs have one goroutine each.
func TestNothingConcurrentIsSparedTheRaceDetector(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join("..", "..", "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`(?m)^PURE := (\S+)$`).FindSubmatch(makefile)
	if list == nil {
		t.Fatal("the Makefile has no list PURE")
	}
	for name := range strings.SplitSeq(string(list[1]), "|") {
		if pkg := "internal/" + name; !isPure(pkg) && pkg != "internal/sim" {
			t.Errorf("%s is not pure: its tests need the race detector, so take it out of PURE in the Makefile", pkg)
		}
	}
}
