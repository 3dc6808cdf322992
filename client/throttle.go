package client

import (
	"math"
	"sync"
	"time"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
)

const (
	// throttleMemory is how long a node's refusals are remembered: after that
	// time they count a third. It is a few times the time in which a node finds
	// out how much it can do.
	throttleMemory = time.Second

	// throttleSlack is how many refusals are no sign of anything; and about how
	// many requests a second a node always gets, so that it is known when it
	// takes more again.
	throttleSlack = 10
)

// throttle holds requests back from a node that turns most of them away: it
// gets twice as many as it takes. Turning one away is cheap for the node, and
// costs something all the same; holding it back costs the node nothing. The zero
// throttle holds nothing back.
type throttle struct {
	mu    sync.Mutex    // guards what follows
	at    time.Duration // when the counts were aged, on the client's clock
	taken float64
	away  float64 // turned away, or held back
}

// lets says whether a request may be sent at a time, by a draw of 0 to 1; if not,
// it counts as turned away.
func (t *throttle) lets(now time.Duration, draw float64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.away <= t.taken+throttleSlack {
		return true
	}
	t.age(now)
	if draw*(t.away+t.taken) >= t.away-t.taken-throttleSlack {
		return true
	}
	t.away++
	return false
}

// answered takes whether a node has turned a request away that it was sent.
func (t *throttle) answered(now time.Duration, away bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.age(now)
	if away {
		t.away++
	} else {
		t.taken++
	}
}

// age lets the counts fade.
func (t *throttle) age(now time.Duration) {
	if since := now - t.at; since > throttleMemory/100 { // less often, since it is no cheap sum
		fade := math.Exp(-since.Seconds() / throttleMemory.Seconds())
		t.taken, t.away, t.at = t.taken*fade, t.away*fade, now
	}
}

// heldBack is the reply to a request that was not sent.
func heldBack(o op) *dynamov1.Reply {
	f := &dynamov1.Failure{
		Reason: dynamov1.Reason_REASON_OVERLOADED,
		Message: "the node has turned most requests away of late, and this client sends it no more than twice as many as it takes; " +
			"try again later, with growing pauses",
	}
	if o != opGet {
		f.Outcome = dynamov1.WriteOutcome_WRITE_OUTCOME_NOT_WRITTEN
	}
	return &dynamov1.Reply{Result: &dynamov1.Reply_Failure{Failure: f}}
}
