//go:build race

package transporttest

import "github.com/dynamo-kv/dynamo/internal/id"

// largeValue is the size of a large value here. With the race detector a batch
// of the largest ones takes as JSON some twenty seconds, which is what a batch
// has to leave in: without it they are sent.
const largeValue = id.MaxValueBytes / 8
