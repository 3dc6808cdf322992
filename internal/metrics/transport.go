package metrics

func transportFamilies() []family {
	direction := []string{"direction"}
	return []family{
		counters("transport_envelopes_total", "Requests and replies between nodes.",
			direction, func(r *Reading, show show) {
				show(float64(r.Transport.Sent.Envelopes), "sent")
				show(float64(r.Transport.Received.Envelopes), "received")
			}),
		counters("transport_messages_total", "Messages that requests and replies between nodes travelled in, many in one.",
			direction, func(r *Reading, show show) {
				show(float64(r.Transport.Sent.Messages), "sent")
				show(float64(r.Transport.Received.Messages), "received")
			}),
		counters("transport_bytes_total", "Bytes of the messages between nodes.",
			direction, func(r *Reading, show show) {
				show(float64(r.Transport.Sent.Bytes), "sent")
				show(float64(r.Transport.Received.Bytes), "received")
			}),
		counters("transport_dropped_total", "Requests and replies between nodes that came to nothing, by why.",
			[]string{"reason"}, func(r *Reading, show show) {
				show(float64(r.Transport.Refused), "refused")
				show(float64(r.Transport.Failed), "failed")
				show(float64(r.Transport.Expired), "expired")
				show(float64(r.Transport.Unknown), "unknown")
				show(float64(r.Transport.Invalid), "invalid")
			}),
	}
}
