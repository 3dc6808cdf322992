package dynamo

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
)

// AdmissionConfig says how much background work a node does beside the requests of
// clients: bringing other nodes what they missed, comparing and repairing
// replicas, moving partitions, forgetting deleted keys, and, in the engines lss
// and badger, merging and collecting garbage. Each piece of it holds a slot while
// it runs. While requests are slow there are fewer slots, and so fewer
// bytes a second; one slot at least stays, so that the work always goes on.
type AdmissionConfig struct {
	// Enabled lets requests slow background work down. Without it that takes
	// what it can get.
	Enabled bool
	// LatencyThreshold is the p99 of requests above which slots are taken away;
	// below four fifths of it they come back: 1 ms to 60 s.
	LatencyThreshold time.Duration
	// MinSlots is how many slots there always are, 1 to MaxSlots.
	MinSlots int
	// MaxSlots is how many there are while requests are fast: MinSlots to 1024.
	MaxSlots int
	// Window is of how many of the latest requests the p99 is: 10 to 100000.
	Window int
	// BytesPerSecond is what background work may move with all slots, in bytes
	// a second, at least 64 KiB for each of MaxSlots. Small keys count as 2 KiB:
	// moving them costs as much.
	BytesPerSecond int64
}

// The bounds of an AdmissionConfig that have no better home.
const (
	maxAdmissionSlots  = 1024
	maxAdmissionWindow = 100_000
	// minSlotBytes lets the smallest chunk of any work be paid for in a second.
	minSlotBytes = 64 << 10
)

func defaultAdmission() AdmissionConfig {
	l := admission.DefaultLimits()
	return AdmissionConfig{
		Enabled: true, LatencyThreshold: l.Target,
		MinSlots: l.MinSlots, MaxSlots: l.MaxSlots, Window: l.Window, BytesPerSecond: l.BytesPerSecond,
	}
}

func (a *AdmissionConfig) check(f *faults) {
	f.check(a.LatencyThreshold >= time.Millisecond && a.LatencyThreshold <= time.Minute,
		"Admission.LatencyThreshold is %v; 1ms to 1m0s are allowed: 100ms suits most uses", a.LatencyThreshold)
	f.check(a.MinSlots >= 1 && a.MinSlots <= a.MaxSlots,
		"Admission.MinSlots is %d; 1 to Admission.MaxSlots, which is %d, are allowed: 1 leaves the most to requests", a.MinSlots, a.MaxSlots)
	f.check(a.MaxSlots >= 1 && a.MaxSlots <= maxAdmissionSlots,
		"Admission.MaxSlots is %d; 1 to %d are allowed: 10 suits most nodes", a.MaxSlots, maxAdmissionSlots)
	f.check(a.Window >= admission.MinSamples && a.Window <= maxAdmissionWindow,
		"Admission.Window is %d; %d to %d are allowed: 1000 tells a p99", a.Window, admission.MinSamples, maxAdmissionWindow)
	f.check(a.BytesPerSecond >= minSlotBytes*int64(max(a.MaxSlots, 1)),
		"Admission.BytesPerSecond is %d; at least %d for each of Admission.MaxSlots, which is %d, are needed: 33554432 suits most nodes",
		a.BytesPerSecond, minSlotBytes, a.MaxSlots)
}

func (a *AdmissionConfig) limits() admission.Limits {
	return admission.Limits{
		Target: a.LatencyThreshold, MinSlots: a.MinSlots, MaxSlots: a.MaxSlots, Window: a.Window, BytesPerSecond: a.BytesPerSecond,
	}
}
