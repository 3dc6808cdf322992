package doctor

import (
	"fmt"
	"strconv"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/merkle"
	"github.com/dynamo-kv/dynamo/internal/replica"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// siblingSizes are the most versions that the keys of each class have.
var siblingSizes = [...]int{1, 2, 4, 8, 16, 32, 64, id.MaxSiblings} //nolint:gochecknoglobals // a constant table

// recordsBetween is how many records are looked at between two words of
// progress.
const recordsBetween = 4096

// Pair implements storage.Examiner.
func (c *check) Pair(key, value []byte) {
	if c.at.Records++; c.at.Records%recordsBetween == 0 {
		c.progress(c.at)
	}
	if err := c.record(key, value); err != nil {
		c.loss(key, Damage{What: err.Error(), Cost: CostStore})
	}
}

// record looks at what is stored under a key.
func (c *check) record(key, value []byte) error {
	partition, isTree := core.TreePartition(key)
	switch name, isControl := core.ControlName(key); {
	case core.IsDataKey(key):
		return c.data(key, value)
	case core.IsHintKey(key):
		return c.hint(key, value)
	case core.IsTallyKey(key):
		return c.tally(key, value)
	case isTree:
		return c.tree(partition, value)
	case isControl:
		c.control[name] = true
		return c.stored.Take(name, value)
	default:
		return fmt.Errorf("it is none of this program's: a newer one has written it, start that")
	}
}

// placed finds what is wrong with the key of a data or hint record.
func placed(key []byte) error {
	if header := len(core.DataKey(nil)); len(key) < header {
		return fmt.Errorf("its key has %d bytes, and no room for a client's", len(key))
	}
	client := core.ClientKey(key)
	switch {
	case len(client) == 0 || len(client) > id.MaxKeyBytes:
		return fmt.Errorf("its key has %d bytes; 1 to %d are allowed", len(client), id.MaxKeyBytes)
	case ring.Hash(client) != core.DataPosition(key):
		return fmt.Errorf("it does not stand where its key belongs on the ring")
	}
	return nil
}

func slotOf(key []byte) uint16 { return uint16(core.DataPosition(key) >> (64 - slotBits)) }

// data looks at a sibling set. That its clock covers its dots, that these are
// in order and none is there twice, decoding says.
func (c *check) data(key, value []byte) error {
	if err := placed(key); err != nil {
		return err
	}
	owners, set, err := replica.StoredHint(value)
	if err != nil {
		return err
	}
	if len(owners) > 0 {
		return fmt.Errorf("it is kept for other nodes, and is no hint")
	}
	c.count(key, value, set)
	c.limits(key, set)
	s := &c.slots[slotOf(key)]
	s.keys++
	if !set.IsEmpty() {
		c.scratch = replica.HashInput(c.scratch[:0], core.ClientKey(key), set)
		s.sum = s.sum.Plus(merkle.Of(c.scratch))
	}
	return nil
}

// count counts a key.
func (c *check) count(key, value []byte, set version.Siblings) {
	d := &c.report.Data
	d.Bytes += uint64(len(key) + len(value))
	live := len(set.Live())
	d.Tombstones += uint64(len(set.Versions) - live)
	if live == 0 {
		d.Deleted++
		return
	}
	d.Keys++
	class := 0
	for class < len(siblingSizes)-1 && len(set.Versions) > siblingSizes[class] {
		class++
	}
	c.sizes[class]++
}

// limits notes a set that is past what a client's put may leave. Merges are
// never refused, so this is no damage.
func (c *check) limits(key []byte, set version.Siblings) {
	if n := len(set.Versions); n > id.MaxSiblings {
		c.note("%s has %d siblings; puts are refused from %d on, until somebody resolves them", name(key), n, id.MaxSiblings)
	}
	if n := set.Size(); n > id.MaxSetBytes {
		c.note("%s has a sibling set of %d bytes; puts are refused from %d on", name(key), n, id.MaxSetBytes)
	}
	if n := set.Clock.Len(); n >= id.MaxClockEntries {
		c.note("%s has a clock of %d entries; puts are refused from %d on, until it is pruned", name(key), n, id.MaxClockEntries)
	}
}

// hint looks at what is kept for others.
func (c *check) hint(key, value []byte) error {
	if err := placed(key); err != nil {
		return err
	}
	owners, set, err := replica.StoredHint(value)
	if err != nil {
		return err
	}
	if len(owners) == 0 {
		return fmt.Errorf("it is kept for nobody")
	}
	keeps := false
	for _, o := range owners {
		keeps = keeps || o.Data
		p := c.pending[string(o.Node)]
		if p == nil {
			p = &Pending{Target: string(o.Node)}
			c.pending[p.Target] = p
		}
		p.Keys++
		if !o.Data {
			p.Marked++
		}
	}
	if keeps == set.IsEmpty() {
		return fmt.Errorf("it says of no owner what it keeps, or keeps nothing and says so of none")
	}
	s := &c.slots[slotOf(key)]
	s.hints++
	s.hintBytes += uint64(len(key) + len(value))
	return nil
}

func (c *check) tally(key, value []byte) error {
	records, bytes, err := replica.StoredTally(value)
	if err != nil {
		return err
	}
	c.tallies[core.TallyPartition(key)] = savedTally{records, bytes}
	return nil
}

func (c *check) tree(p ring.Partition, value []byte) error {
	root, bits, err := replica.SavedRoot(value)
	if err != nil {
		return err
	}
	c.report.Trees.Saved++
	c.trees[p] = savedTree{root, bits}
	return nil
}

// loss keeps damage of a record. What nobody else has for certain stops the
// node; a saved tree is built anew.
func (c *check) loss(key []byte, d Damage) {
	f := found{Damage: d}
	f.Record = name(key)
	data, hint := core.IsDataKey(key), core.IsHintKey(key)
	if (data || hint) && placed(key) == nil {
		f.Key = strconv.Quote(string(core.ClientKey(key)))
		position := core.DataPosition(key)
		f.position = &position
	}
	if p, ok := core.TreePartition(key); ok {
		n := uint32(p)
		f.Partition = &n
	}
	if data && len(key) > len(core.DataKey(nil)) {
		c.lost[slotOf(key)] = true
	}
	if _, isTree := core.TreePartition(key); isTree {
		f.Cost = CostNothing
	} else if d.Cost == CostRecord && !data {
		f.Cost = CostStore
	}
	if storedName, ok := core.ControlName(key); ok {
		c.control[storedName] = true // it is there, in a way
	}
	c.add(f)
}

// maxName bounds what is shown of a key of another program.
const maxName = 64

// name names a record of the store for people.
func name(key []byte) string {
	header := len(core.DataKey(nil))
	partition, isTree := core.TreePartition(key)
	control, isControl := core.ControlName(key)
	switch {
	case core.IsDataKey(key) && len(key) > header:
		return "the key " + strconv.Quote(string(core.ClientKey(key)))
	case core.IsHintKey(key) && len(key) > header:
		return "the hint of the key " + strconv.Quote(string(core.ClientKey(key)))
	case core.IsTallyKey(key):
		return fmt.Sprintf("the tally of hints of partition %d", core.TallyPartition(key))
	case isTree:
		return fmt.Sprintf("the hash tree of partition %d", partition)
	case isControl:
		return fmt.Sprintf("the control record %q", control)
	}
	return fmt.Sprintf("the record %q", key[:min(len(key), maxName)])
}
