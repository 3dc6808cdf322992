package storage_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynamo-kv/dynamo/internal/storage"
)

func TestAtRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, quit := storage.AtRate(1000), make(chan struct{})
		began := time.Now()
		for range 3 {
			if !b.Step(500, quit) {
				t.Fatal("a step is refused")
			}
		}
		if took := time.Since(began); took != 1500*time.Millisecond {
			t.Errorf("1500 bytes at 1000 a second take %v", took)
		}
		b.Done()
		close(quit)
		if b.Step(1<<40, quit) {
			t.Error("a step is taken after the end")
		}
	})
}
