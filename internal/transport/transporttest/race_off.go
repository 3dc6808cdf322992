//go:build !race

package transporttest

import "github.com/dynamo-kv/dynamo/internal/id"

// largeValue is the size of a large value here: the largest one.
const largeValue = id.MaxValueBytes
