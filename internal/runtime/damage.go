package runtime

import (
	"sync"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// maxDamage bounds the records that a loop is told of one by one. A disk that has
// lost more at once has everything looked at that is in doubt.
const maxDamage = 1024

// Damage takes what the node's storage engine finds that the disk has lost to the
// shards and to Control, which know whose it is. It is made before the engine is
// opened, and keeps what is found until the node has a layout.
type Damage struct{ loops []damage }

// damage is what one loop is to be told.
type damage struct {
	mu    sync.Mutex // guards what follows
	found core.Damage
	queue *queue // nil until the node has a layout
}

// NewDamage returns one for a node of so many shards.
func NewDamage(shards int) *Damage { return &Damage{loops: make([]damage, shards+1)} }

// Found takes the store's key of a record that is lost. It never waits.
func (d *Damage) Found(key []byte) {
	for i := range d.loops {
		d.loops[i].add(key)
	}
}

// begin has the loops told from now on. It may be called again.
func (d *Damage) begin(shards []*loop, control *loop) {
	for i, l := range shards {
		d.loops[i].begin(l.queue)
	}
	d.loops[len(shards)].begin(control.queue)
}

func (d *damage) add(key []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	first := len(d.found.Keys) == 0
	if len(d.found.Keys) < maxDamage {
		d.found.Keys = append(d.found.Keys, key)
	} else {
		d.found.More = true
	}
	if first && d.queue != nil {
		d.queue.put(input{kind: damageReport, value: d})
	}
}

func (d *damage) begin(q *queue) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue != nil {
		return
	}
	d.queue = q
	if len(d.found.Keys) > 0 {
		q.put(input{kind: damageReport, value: d})
	}
}

// take returns what there is to tell. What is found after that is told again.
func (d *damage) take() core.Damage {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := d.found
	d.found = core.Damage{}
	return found
}
