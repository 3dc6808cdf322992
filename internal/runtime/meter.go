package runtime

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

const (
	// measureEach is how often the room of the storage is measured: a fast disk
	// takes less in that time than what is kept free.
	measureEach = 250 * time.Millisecond

	// measureShare and measureBytes are after how much that was written it is
	// measured before that: the share of the whole, so that the shards of a small
	// storage soon hear of what they may still store.
	measureShare = 256
	measureBytes = 64 << 20
)

// Meter measures how much room the storage has left. An error says that it
// cannot be measured now.
type Meter func() (core.RoomReport, error)

// meter tells Control how much room there is.
type meter struct {
	measure Meter // nil: nobody measures
	kick    chan struct{}
	step    atomic.Int64
	written atomic.Int64 // since the latest measurement
	failed  bool         // the latest one
}

func newMeter(measure Meter) meter { return meter{measure: measure, kick: make(chan struct{}, 1)} }

// wrote counts what is being written.
func (m *meter) wrote(batch []core.Write) {
	if m.measure == nil {
		return
	}
	n := 0
	for i := range batch {
		n += len(batch[i].Key) + len(batch[i].Value)
	}
	if m.written.Add(int64(n)) < m.step.Load() {
		return
	}
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// take measures; ok is false where it could not, and what was known before
// stays.
func (m *meter) take(logger *slog.Logger) (r core.RoomReport, ok bool) {
	m.written.Store(0)
	r, err := m.measure()
	if err != nil {
		if !m.failed {
			logger.Warn("the room of the storage cannot be measured; what was known of it stays", "error", err)
		}
		m.failed = true
		return r, false
	}
	m.failed = false
	m.step.Store(int64(min(r.Total/measureShare, measureBytes)))
	return r, true
}

// watchRoom measures now and then, until the runtime stops.
func (r *Runtime) watchRoom() {
	ticker := time.NewTicker(measureEach)
	defer ticker.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-ticker.C:
		case <-r.meter.kick:
		}
		if report, ok := r.meter.take(r.logger); ok {
			r.control.queue.put(input{kind: roomReport, value: &report})
		}
	}
}

// tellRoom logs what has become of the room.
func (r *Runtime) tellRoom(before, now core.RoomStatus) {
	if before.State == now.State {
		return
	}
	about := []any{"free_bytes", now.Left, "total_bytes", now.Total, "low_at", now.Low, "full_at", now.Full}
	switch now.State {
	case core.RoomFull:
		r.logger.Error("the storage is full: this node takes no more writes but deletes, and serves reads; make room, or add nodes", about...)
	case core.RoomLow:
		r.logger.Warn("the storage has little room left; make room, or add nodes", about...)
	case core.RoomPlenty:
		r.logger.Info("the storage has room again", about...)
	}
}
