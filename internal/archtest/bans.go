package archtest

import (
	"slices"
	"strings"
)

// ban is a package that pure code may not import, with all below it.
type ban struct{ path, why string }

func bannedImports() []ban {
	const (
		io     = "what decides does no IO; return an effect"
		locks  = "one loop owns the state, so there is nothing to lock"
		random = "randomness comes in as a seeded source"
	)
	return []ban{
		{"context", "deadlines come in as arguments"},
		{"crypto/rand", random},
		{"hash/maphash", random},
		{"io/fs", io},
		{"io/ioutil", io},
		{"log", io},
		{"net", io},
		{"os", io},
		{"runtime", "what decides does not depend on the process that it runs in"},
		{"sync", locks},
		{"syscall", io},
	}
}

// bannedFunc says why pure code may not use a function of a package that it
// may import, or nothing.
func bannedFunc(pkg, name string) string {
	switch pkg {
	case "time":
		if slices.Contains(clocks(), name) {
			return "time is an argument"
		}
	case "math/rand", "math/rand/v2":
		// What remains are the functions of the global source.
		if !strings.HasPrefix(name, "New") {
			return "randomness comes from a source that is handed in, as in rand.New(rand.NewPCG(seed, purpose))"
		}
	case "fmt":
		if strings.HasPrefix(name, "Print") || strings.HasPrefix(name, "Scan") {
			return "what decides does no IO"
		}
	case "iter":
		return "it runs a coroutine"
	}
	return ""
}

// clocks lists the functions of the package time that read the clock or wait.
func clocks() []string {
	return []string{"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"}
}
