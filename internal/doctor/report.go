package doctor

import "time"

// Report is what a check has found.
type Report struct {
	Dir      string `json:"dir"`
	Engine   string `json:"engine"`
	Format   int    `json:"format"`
	Node     string `json:"node"`
	Instance string `json:"instance"` // 16 hexadecimal digits

	Cluster string     `json:"cluster,omitempty"` // 16 hexadecimal digits; empty: the node has joined none
	Stamped *time.Time `json:"stamped,omitempty"` // when the disk was last in use
	Members []Member   `json:"members,omitempty"`
	Layout  *Layout    `json:"layout,omitempty"`

	Data  Data     `json:"data"`
	Hints Hints    `json:"hints"`
	Trees Trees    `json:"trees"`
	Aside []string `json:"aside,omitempty"` // files and folders of data that was set aside

	// Healthy says that nothing is damaged.
	Healthy bool `json:"healthy"`
	// Damage lists what is, up to MaxDamage; MoreDamage counts the rest.
	Damage     []Damage `json:"damage,omitempty"`
	MoreDamage int      `json:"more_damage,omitempty"`
	// Worst is the highest cost of any damage, also of what is not listed.
	Worst Cost `json:"worst,omitempty"`
	// Notes say what is worth knowing and no damage, up to MaxNotes.
	Notes     []string `json:"notes,omitempty"`
	MoreNotes int      `json:"more_notes,omitempty"`
}

const (
	// MaxDamage bounds what is listed: more than anybody reads, and enough for
	// a script that reads the keys again.
	MaxDamage = 1000
	// MaxNotes bounds the notes, which come one a file or partition.
	MaxNotes = 100
)

// Cost is what damage costs the node that starts from the directory.
type Cost string

// The costs, from the least on.
const (
	// CostNothing: what is damaged is there twice, or nothing reads it.
	CostNothing Cost = "nothing"
	// CostRecord: one record, which the other owners bring back.
	CostRecord Cost = "record"
	// CostStore: the node does not start, or stops when it comes upon it.
	CostStore Cost = "store"
)

// Damage is one place that is not as it should be.
type Damage struct {
	File      string  `json:"file,omitempty"`   // in the engine's folder
	Offset    *int64  `json:"offset,omitempty"` // in the file, where it is known
	Record    string  `json:"record,omitempty"` // which it is, with its key escaped
	Key       string  `json:"key,omitempty"`    // the client's key, escaped as in Go; empty: the record has none
	Partition *uint32 `json:"partition,omitempty"`
	What      string  `json:"what"`
	Cost      Cost    `json:"cost"`
}

// Member is one of the cluster, as the node knew it.
type Member struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	State   string `json:"state"`
}

// Layout is the newest one that the node goes by.
type Layout struct {
	Name       string `json:"name"`
	Phase      string `json:"phase"`
	Partitions int    `json:"partitions"`
	Replicas   int    `json:"replicas"`
	Owned      int    `json:"owned"` // partitions of which the node is an owner, in any live layout
}

// Data counts the sibling sets.
type Data struct {
	Keys       uint64     `json:"keys"`       // with a value
	Deleted    uint64     `json:"deleted"`    // with tombstones only
	Tombstones uint64     `json:"tombstones"` // versions
	Bytes      uint64     `json:"bytes"`      // of keys and records
	Siblings   []Siblings `json:"siblings,omitempty"`
	Leftovers  uint64     `json:"leftovers"` // keys of partitions that the node does not own
}

// Siblings counts the keys that have from From to To versions.
type Siblings struct {
	From int    `json:"from"`
	To   int    `json:"to"`
	Keys uint64 `json:"keys"`
}

// Hints counts what is kept for others.
type Hints struct {
	Records uint64    `json:"records"`
	Bytes   uint64    `json:"bytes"`
	Pending []Pending `json:"pending,omitempty"`
}

// Pending counts the keys that are kept for one owner.
type Pending struct {
	Target string `json:"target"`
	Keys   uint64 `json:"keys"`   // all
	Marked uint64 `json:"marked"` // of them, those of which only a marker is kept
}

// Trees counts the saved hash trees.
type Trees struct {
	Saved int `json:"saved"`
	Equal int `json:"equal"` // to the data of their partitions
}
