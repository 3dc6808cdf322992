package bench

import (
	"fmt"
	"math/rand/v2"
	"sync"
)

// keyName returns the key of a number. All have the same length, as those of
// users of a site would.
func keyName(i uint64) string { return fmt.Sprintf("user%012d", i) }

// spareValue is how many bytes values have to begin at, so that two of them
// are hardly ever equal.
const spareValue = 1 << 20

// values are random bytes: an engine that compresses them gains nothing.
type values struct {
	bytes []byte
	size  int
}

func newValues(size int, random *rand.ChaCha8) values {
	v := values{bytes: make([]byte, size+spareValue), size: size}
	_, _ = random.Read(v.bytes) // it always fills them
	return v
}

// next returns a value, which shares its bytes with others.
func (v values) next(random *rand.Rand) []byte {
	from := random.IntN(spareValue)
	return v.bytes[from : from+v.size : from+v.size]
}

// inserts hands out the numbers of new keys and knows up to which one all of
// them have been written, so that reads ask for nothing that is still on its
// way.
type inserts struct {
	mu      sync.Mutex
	next    uint64          // the next number
	written uint64          // all below have been written, or given up
	early   map[uint64]bool // written at or above it; at most one for each caller
}

func newInserts(from uint64) *inserts {
	return &inserts{next: from, written: from, early: map[uint64]bool{}}
}

func (n *inserts) begin() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next++
	return n.next - 1
}

func (n *inserts) end(i uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.early[i] = true
	for n.early[n.written] {
		delete(n.early, n.written)
		n.written++
	}
}

func (n *inserts) count() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.written
}
