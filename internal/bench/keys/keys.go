package keys

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Distribution is which keys are asked for how often.
type Distribution string

// The distributions.
const (
	// Uniform asks for all keys alike.
	Uniform Distribution = "uniform"
	// Zipfian asks for few keys much oftener than for the rest. Which ones
	// these are has nothing to do with their order.
	Zipfian Distribution = "zipfian"
	// Latest asks for keys the oftener the later they were written.
	Latest Distribution = "latest"
)

// Distributions returns all of them.
func Distributions() []Distribution { return []Distribution{Uniform, Zipfian, Latest} }

// Parse returns the distribution of that name.
func Parse(name string) (Distribution, error) {
	names := make([]string, 0, len(Distributions()))
	for _, d := range Distributions() {
		if string(d) == name {
			return d, nil
		}
		names = append(names, string(d))
	}
	return "", fmt.Errorf("distribution is %q; %s are allowed", name, strings.Join(names, ", "))
}

// Chooser draws keys, by their numbers from 0 in the order in which they were
// first written. It is not for several goroutines at once.
type Chooser struct {
	distribution Distribution
	random       *rand.Rand
	loaded       uint64
	zipf         zipf
	shuffle      shuffle
}

// NewChooser returns a chooser among keys, of which loaded, at least 1, exist
// from the start.
func NewChooser(d Distribution, loaded uint64, random *rand.Rand) *Chooser {
	if loaded == 0 {
		panic("keys: there are none to choose from")
	}
	return &Chooser{
		distribution: d, random: random, loaded: loaded,
		zipf: newZipf(Exponent), shuffle: newShuffle(loaded),
	}
}

// Next returns a key while there are so many, those that were loaded and
// those that were written since. Only Latest draws the newer ones: the others
// stay with what they have begun, whatever comes in meanwhile.
func (c *Chooser) Next(written uint64) uint64 {
	switch c.distribution {
	case Latest:
		written = max(written, c.loaded)
		return written - c.zipf.next(c.random, written)
	case Zipfian:
		return c.shuffle.of(c.zipf.next(c.random, c.loaded) - 1)
	default:
		return c.random.Uint64N(c.loaded)
	}
}
