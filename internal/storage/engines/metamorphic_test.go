package engines_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/storage/storagetest"
)

// What TestMetamorphic takes.
var (
	metaSeed    = flag.Uint64("metamorphic.seed", 1, "first seed of TestMetamorphic")
	metaOps     = flag.Int("metamorphic.ops", 250, "operations that TestMetamorphic draws from each seed")
	metaSeeds   = flag.Uint64("metamorphic.seeds", 3, "seeds of TestMetamorphic")
	metaMinutes = flag.Float64("metamorphic.minutes", 0, "how long TestMetamorphic goes on, whatever the number of seeds")
	metaEngine  = flag.String("metamorphic.engine", "", "the engine of TestMetamorphic; empty: all")
)

// TestMetamorphic gives all engines the same random operations, seed after
// seed.
func TestMetamorphic(t *testing.T) {
	began := time.Now()
	more := func(n uint64) bool {
		if *metaMinutes == 0 {
			return n < *metaSeeds
		}
		return time.Since(began).Minutes() < *metaMinutes
	}
	seed := *metaSeed
	for ; !t.Failed() && more(seed-*metaSeed); seed++ {
		for _, s := range subjects() {
			if *metaEngine != "" && *metaEngine != s.Name {
				continue
			}
			t.Run(fmt.Sprintf("%d/%s", seed, s.Name), func(t *testing.T) {
				storagetest.Metamorphic(t, s, seed, *metaOps,
					fmt.Sprintf("make metamorphic SEED=%d OPS=%d", seed, *metaOps))
			})
		}
	}
	t.Logf("seeds %d to %d, %d operations each", *metaSeed, seed-1, *metaOps)
}

// TestStops runs what the port says of starts and stops against each engine.
func TestStops(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.Name, func(t *testing.T) { storagetest.Restart(t, s) })
	}
}
