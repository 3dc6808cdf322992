package wire

import (
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// benchBatch is a full batch of applies as puts of 1 KiB make them.
func benchBatch(b *testing.B) []core.Envelope {
	b.Helper()
	actor := version.Actor{Node: "node-1", Epoch: version.Epoch{Start: 1 << 60, Seq: 12}}
	set, _ := version.Siblings{}.Put(version.Clock{}, actor, version.Write{
		ID: version.WriteID{1}, Timestamp: 1 << 60, Data: make([]byte, 1024),
	})
	batch := make([]core.Envelope, 64)
	for i := range batch {
		batch[i] = sampleEnvelope(b, &core.Apply{Key: []byte("a key of usual length"), Set: set})
	}
	return batch
}

func BenchmarkEncode64Applies1KiB(b *testing.B) {
	batch := benchBatch(b)
	var c Encoder
	buf := make([]byte, 1<<20)
	into := func(size int) []byte { return buf[:size] }
	b.ReportAllocs()
	for b.Loop() {
		c.Encode(0, batch, into)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/envelope")
}

func BenchmarkDecode64Applies1KiB(b *testing.B) {
	batch := benchBatch(b)
	msg := encode(0, batch...)
	var d Decoder
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Decode(time.Second, msg, func(*core.Envelope) {}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/envelope")
}
