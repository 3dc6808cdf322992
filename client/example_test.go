package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo"
	"github.com/dynamo-kv/dynamo/client"
)

// startExample starts a cluster of one node, and returns its address and a
// function that stops it.
func startExample() (addr string, stop func()) {
	config := dynamo.DefaultConfig()
	config.N, config.R, config.W = 1, 1, 1
	config.StorageEngine = "memory"
	config.LayoutDelay = 0
	node, err := dynamo.NewNode("n1", "127.0.0.1:0", config)
	if err != nil {
		log.Fatal(err)
	}
	if err := node.Start(); err != nil {
		log.Fatal(err)
	}
	return node.Addr(), func() { _ = node.Stop() }
}

func Example() {
	addr, stop := startExample()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	c, err := client.New(ctx, []string{addr}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	result, err := c.Get(ctx, "cart")
	fmt.Println("not found:", errors.Is(err, client.ErrKeyNotFound))

	// A context says what a write replaces.
	seen, err := c.Put(ctx, "cart", []byte("milk"), result.Context)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := c.Put(ctx, "cart", []byte("milk, bread"), seen); err != nil {
		log.Fatal(err)
	}
	// This one has seen less: it becomes a sibling, and nothing is lost.
	if _, err := c.Put(ctx, "cart", []byte("milk, eggs"), seen); err != nil {
		log.Fatal(err)
	}
	if result, err = c.Get(ctx, "cart"); err != nil {
		log.Fatal(err)
	}
	for _, v := range result.Values {
		fmt.Printf("%s\n", v.Data)
	}

	// Output:
	// not found: true
	// milk, bread
	// milk, eggs
}

// Two writers have not seen each other; the update gets both values.
func ExampleClient_Update() {
	addr, stop := startExample()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := client.New(ctx, []string{addr}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for _, value := range []string{"milk,bread", "eggs,milk"} {
		if _, err := c.Put(ctx, "cart", []byte(value), nil); err != nil {
			log.Fatal(err)
		}
	}

	add := client.Modify(client.Union(","), func(value []byte) ([]byte, error) {
		return append(value, ",tea"...), nil
	})
	if _, err := c.Update(ctx, "cart", add); err != nil {
		log.Fatal(err)
	}
	result, err := c.Get(ctx, "cart")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d value: %s\n", len(result.Values), result.Values[0].Data)

	// Output:
	// 1 value: bread,eggs,milk,tea
}

func ExampleClient_GetMany() {
	addr, stop := startExample()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := client.New(ctx, []string{addr}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	items := []client.Item{{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("2")}}
	for wrote := range c.PutMany(ctx, slices.Values(items)) {
		if wrote.Err != nil {
			log.Fatal(wrote.Key, ": ", wrote.Err)
		}
	}
	for got := range c.GetMany(ctx, slices.Values([]string{"a", "b", "c"})) {
		if got.Err != nil {
			fmt.Println(got.Key, "failed:", errors.Is(got.Err, client.ErrKeyNotFound))
			continue
		}
		fmt.Printf("%s = %s\n", got.Key, got.Result.Values[0].Data)
	}

	// Output:
	// a = 1
	// b = 2
	// c failed: true
}
