package core_test

import (
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
)

func TestChildrenOfATrace(t *testing.T) {
	root := &core.Trace{ID: [16]byte{1}, Span: core.SpanID{2}}
	seen := map[core.SpanID]bool{root.Span: true, {}: true}
	for n := range uint64(1000) {
		child := root.Child(n)
		if child.ID != root.ID || seen[child.Span] {
			t.Fatalf("child %d is %x of %x", n, child.Span, child.ID)
		}
		if again := root.Child(n); *again != *child {
			t.Fatalf("child %d is %x, then %x", n, child.Span, again.Span)
		}
		seen[child.Span] = true
	}
	if root.Child(1).Child(0).Span == root.Child(0).Span {
		t.Error("a grandchild stands where a child does")
	}
}
