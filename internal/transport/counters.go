package transport

import "sync/atomic"

// Counters is what a transport counts its Stats with. Any goroutine may count.
type Counters struct {
	sent, received                             traffic
	refused, failed, expired, unknown, invalid atomic.Uint64
}

type traffic struct{ envelopes, messages, bytes atomic.Uint64 }

func (t *traffic) add(envelopes, bytes int) {
	t.envelopes.Add(uint64(envelopes))
	t.messages.Add(1)
	t.bytes.Add(uint64(bytes))
}

func (t *traffic) load() Traffic {
	return Traffic{Envelopes: t.envelopes.Load(), Messages: t.messages.Load(), Bytes: t.bytes.Load()}
}

// Sent counts one message with so many envelopes.
func (c *Counters) Sent(envelopes, bytes int) { c.sent.add(envelopes, bytes) }

// Received counts one message of so many bytes: its envelopes that were
// delivered, those of unknown kinds, and whether it was malformed.
func (c *Counters) Received(delivered, unknown, bytes int, err error) {
	c.received.add(delivered, bytes)
	c.unknown.Add(uint64(unknown))
	if err != nil {
		c.invalid.Add(1)
	}
}

// Refused counts a Send that returned false.
func (c *Counters) Refused() { c.refused.Add(1) }

// Failed counts envelopes that were accepted and provably not sent.
func (c *Counters) Failed(envelopes int) { c.failed.Add(uint64(envelopes)) }

// Expired counts envelopes whose deadline passed in the outbox.
func (c *Counters) Expired(envelopes int) { c.expired.Add(uint64(envelopes)) }

// Stats returns the counts. They are not of one instant.
func (c *Counters) Stats() Stats {
	return Stats{
		Sent:     c.sent.load(),
		Received: c.received.load(),
		Refused:  c.refused.Load(),
		Failed:   c.failed.Load(),
		Expired:  c.expired.Load(),
		Unknown:  c.unknown.Load(),
		Invalid:  c.invalid.Load(),
	}
}
