package ring_test

import (
	"fmt"
	"log"

	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// Three nodes form a cluster with 8 partitions of three owners each, in
// distinct zones. A fourth joins in a zone of its own: it takes its share of
// the 24 places, and nothing moves but what it gains.
func Example() {
	members := []ring.Member{
		{ID: "n1", Zone: "a", Weight: 1},
		{ID: "n2", Zone: "b", Weight: 1},
		{ID: "n3", Zone: "c", Weight: 1},
	}
	layout, err := ring.Form(8, 3, members)
	if err != nil {
		log.Fatal(err)
	}
	p := layout.Partition([]byte("cart"))
	fmt.Printf("cart is in partition %d of %d, with %d owners\n", p, layout.Partitions(), len(layout.Owners(p)))

	members = append(members, ring.Member{ID: "n4", Zone: "d", Weight: 1})
	next, err := layout.Plan(2, members, 3)
	if err != nil {
		log.Fatal(err)
	}
	gained := make(map[id.Node]int)
	for _, move := range layout.Moves(next) {
		for _, n := range move.To {
			gained[n]++
		}
	}
	fmt.Println("gained:", gained)
	for _, m := range next.Members() {
		fmt.Println(m.ID, "owns", next.Load(m.ID))
	}
	// Output:
	// cart is in partition 0 of 8, with 3 owners
	// gained: map[n4:6]
	// n1 owns 6
	// n2 owns 6
	// n3 owns 6
	// n4 owns 6
}

// The preference list of a partition has its owners first, then the nodes that
// stand in for them, each once.
func ExampleLayout_Preference() {
	layout, err := ring.Form(16, 3, []ring.Member{
		{ID: "n1", Weight: 1},
		{ID: "n2", Weight: 1},
		{ID: "n3", Weight: 1},
		{ID: "n4", Weight: 1},
		{ID: "n5", Weight: 1},
	})
	if err != nil {
		log.Fatal(err)
	}
	p := layout.Partition([]byte("cart"))
	layout.Preference(p, func(n id.Node) bool {
		if layout.Owns(n, p) {
			fmt.Println("owner")
		} else {
			fmt.Println("fallback")
		}
		return true
	})
	// Output:
	// owner
	// owner
	// owner
	// fallback
	// fallback
}
