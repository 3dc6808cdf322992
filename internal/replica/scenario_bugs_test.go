//go:build simbugs

package replica

import (
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core/coretest"
)

// Each scenario ends badly when its rule is switched off.
func TestScenariosNeedTheirRules(t *testing.T) { coretest.Break(t, scenarios()) }
