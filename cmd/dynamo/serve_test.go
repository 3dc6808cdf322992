package main

import (
	"testing"

	"github.com/dynamo-kv/dynamo"
)

// A node whose settings are not those of its cluster is told so.
func TestOverruled(t *testing.T) {
	config := dynamo.DefaultConfig()
	config.N, config.Partitions = 5, 64
	for of, want := range map[[2]int]string{
		{5, 64}:   "",
		{3, 64}:   "n is 5 here and 3 in the cluster, which goes by what it was formed with: give this node the same",
		{3, 1024}: "n is 5 here and 3 in the cluster, partitions is 64 here and 1024 in the cluster, which goes by what it was formed with: give this node the same",
	} {
		if got := overruled(dynamo.Layout{Replicas: of[0], Partitions: of[1]}, config); got != want {
			t.Errorf("%v: %q, want %q", of, got, want)
		}
	}
}
