package dynamo_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/dynamo-kv/dynamo"
)

// A cluster of two nodes in one program: a read-modify-write, two writers that
// did not see each other, and a write that resolves their siblings.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	config := dynamo.DefaultConfig()
	config.N, config.R, config.W = 2, 2, 2
	config.StorageEngine = "memory" // "pebble" keeps it on the disk
	config.LayoutDelay = 0

	var nodes []*dynamo.Node
	for _, id := range []string{"n1", "n2"} {
		node, err := dynamo.NewNode(id, "127.0.0.1:0", config)
		if err != nil {
			log.Fatal(err)
		}
		if err := node.Start(); err != nil {
			log.Fatal(err)
		}
		defer func() { _ = node.Stop() }()
		nodes = append(nodes, node)
	}
	if err := nodes[1].Join([]string{nodes[0].Addr()}); err != nil {
		log.Fatal(err)
	}
	if err := nodes[0].Ready(ctx); err != nil {
		log.Fatal(err)
	}

	_, err := nodes[0].Get(ctx, "cart")
	fmt.Println("not found:", errors.Is(err, dynamo.ErrKeyNotFound))

	// A context says what a write replaces.
	seen, err := nodes[0].Put(ctx, "cart", []byte("milk"), nil)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := nodes[1].Put(ctx, "cart", []byte("milk, bread"), seen); err != nil {
		log.Fatal(err)
	}

	// This one has seen less: it becomes a sibling, and nothing is lost.
	if _, err := nodes[0].Put(ctx, "cart", []byte("milk, eggs"), seen); err != nil {
		log.Fatal(err)
	}
	result, err := nodes[1].Get(ctx, "cart")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("siblings:", len(result.Values))

	// The context of the read covers both.
	if _, err := nodes[1].Put(ctx, "cart", []byte("milk, bread, eggs"), result.Context); err != nil {
		log.Fatal(err)
	}
	result, err = nodes[0].Get(ctx, "cart")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("resolved: %s\n", result.Values[0].Data)

	// Output:
	// not found: true
	// siblings: 2
	// resolved: milk, bread, eggs
}

// A program that learns when another node dies.
func ExampleNode_Subscribe() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	config := dynamo.DefaultConfig()
	config.N, config.R, config.W = 2, 1, 1
	config.StorageEngine = "memory"
	config.LayoutDelay = 0
	config.GossipInterval = 20 * time.Millisecond

	var nodes []*dynamo.Node
	for _, id := range []string{"n1", "n2"} {
		node, err := dynamo.NewNode(id, "127.0.0.1:0", config)
		if err != nil {
			log.Fatal(err)
		}
		if err := node.Start(); err != nil {
			log.Fatal(err)
		}
		defer func() { _ = node.Stop() }()
		nodes = append(nodes, node)
	}
	if err := nodes[1].Join([]string{nodes[0].Addr()}); err != nil {
		log.Fatal(err)
	}
	if err := nodes[0].Ready(ctx); err != nil {
		log.Fatal(err)
	}

	changes, err := nodes[0].Subscribe(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if err := nodes[1].Stop(); err != nil {
		log.Fatal(err)
	}
	for change := range changes {
		if change.To == "dead" {
			fmt.Println(change.Member, "is", change.To)
			break
		}
	}

	// Output:
	// n2 is dead
}
