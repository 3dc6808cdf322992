package archtest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/archtest"
)

// TestPolicy shares one Policy, since the first check type-checks the parts of
// the standard library that it meets, which takes seconds.
func TestPolicy(t *testing.T) {
	root := moduleRoot(t)
	policy := archtest.New(root)
	t.Run("this module", func(t *testing.T) {
		problems, err := policy.Check(os.DirFS(root))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Error(p)
		}
	})
	t.Run("imports refused", func(t *testing.T) { testImportsRefused(t, policy) })
	t.Run("code refused", func(t *testing.T) { testCodeRefused(t, policy) })
	t.Run("allowed", func(t *testing.T) { testAllowed(t, policy) })
}

// moduleRoot walks up to the folder that has go.mod.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod here or above")
		}
		dir = parent
	}
}
