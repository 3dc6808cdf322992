package bench

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/dynamo-kv/dynamo/internal/bench/keys"
)

// Op is a kind of operation.
type Op int

// The operations.
const (
	OpGet    Op = iota // read a key
	OpPut              // replace the value of a key
	OpInsert           // write a key that was not there
	OpModify           // read a key and replace what was read
	ops                // how many there are
)

func (o Op) String() string {
	return [ops]string{"get", "put", "insert", "modify"}[o]
}

// Workload is what is done how often, and with which keys unless another
// distribution is asked for.
type Workload struct {
	Name         string
	Distribution keys.Distribution
	shares       [ops]float64 // they add up to 1
}

// Workloads returns those of YCSB that a store without ordered scans can run;
// E is missing, since it scans.
func Workloads() []Workload {
	return []Workload{
		{"a", keys.Zipfian, [ops]float64{OpGet: 0.5, OpPut: 0.5}},
		{"b", keys.Zipfian, [ops]float64{OpGet: 0.95, OpPut: 0.05}},
		{"c", keys.Zipfian, [ops]float64{OpGet: 1}},
		{"d", keys.Latest, [ops]float64{OpGet: 0.95, OpInsert: 0.05}},
		{"f", keys.Zipfian, [ops]float64{OpGet: 0.5, OpModify: 0.5}},
	}
}

// ParseWorkload returns the workload of that letter.
func ParseWorkload(name string) (Workload, error) {
	names := make([]string, 0, len(Workloads()))
	for _, w := range Workloads() {
		if strings.EqualFold(w.Name, name) {
			return w, nil
		}
		names = append(names, w.Name)
	}
	if strings.EqualFold(name, "e") {
		return Workload{}, fmt.Errorf("workload is %q, which scans ranges of keys, and this database has none; %s are allowed",
			name, strings.Join(names, ", "))
	}
	return Workload{}, fmt.Errorf("workload is %q; %s are allowed", name, strings.Join(names, ", "))
}

// ParseOp returns the workload of one operation alone.
func ParseOp(name string) (Workload, error) {
	for _, o := range []Op{OpGet, OpPut} {
		if o.String() == name {
			w := Workload{Name: name, Distribution: keys.Uniform}
			w.shares[o] = 1
			return w, nil
		}
	}
	return Workload{}, fmt.Errorf("op is %q; put and get are allowed", name)
}

// pick draws an operation.
func (w *Workload) pick(random *rand.Rand) Op {
	at := random.Float64()
	for o, share := range w.shares {
		if at < share {
			return Op(o)
		}
		at -= share
	}
	return w.most() // the shares are rounded, so that a draw may fall behind the last
}

// most returns the operation with the largest share.
func (w *Workload) most() Op {
	most := OpGet
	for o, share := range w.shares {
		if share > w.shares[most] {
			most = Op(o)
		}
	}
	return most
}
