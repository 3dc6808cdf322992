package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protowire"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/frame"
)

// floodTimeout is what requests of a flood have: a client that waits for longer
// has gone.
const floodTimeout = 500 * time.Millisecond

// floodTick is how often what is due of a flood is sent: a tenth of the time
// that a request takes where nothing waits.
const floodTick = time.Millisecond

// flooder sends puts to one node over one stream, with as little work for each
// as can be: so that the node's capacity is what is measured, and not that of
// whoever asks.
type flooder struct {
	stream grpc.ClientStream
	value  []byte
	began  time.Time

	requests dynamov1.Requests
	slots    []floodSlot
	next     uint64 // the ID of the latest request

	underWay atomic.Int64
	freed    chan struct{} // of capacity 1: an answer has come

	mu  sync.Mutex               // guards what follows
	due map[uint64]time.Duration // of the requests under way, since began
	out flooded
}

type floodSlot struct {
	request dynamov1.Request
	put     dynamov1.PutRequest
	of      dynamov1.Request_Put
}

// newFlooders opens a stream to each address.
func newFlooders(b *testing.B, addrs []string, valueBytes int) (all []*flooder) {
	b.Helper()
	for _, addr := range addrs {
		target := url.URL{Scheme: "passthrough", Path: "/" + addr}
		conn, err := grpc.NewClient(target.String(),
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(frame.Codec{})),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", addr)
			}),
			grpc.WithInitialWindowSize(4<<20), grpc.WithInitialConnWindowSize(4<<20),
			grpc.WithReadBufferSize(64<<10), grpc.WithWriteBufferSize(64<<10),
		)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = conn.Close() })
		stream, err := dynamov1.NewKVClient(conn).Stream(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		f := &flooder{
			stream: stream, value: make([]byte, valueBytes), began: time.Now(),
			freed: make(chan struct{}, 1), due: make(map[uint64]time.Duration),
		}
		go f.receive() // until the connection is closed
		all = append(all, f)
	}
	return all
}

// at sends a number of puts a second for a while.
func (f *flooder) at(rate float64, length time.Duration) error {
	ticker := time.NewTicker(floodTick)
	defer ticker.Stop()
	begin := time.Since(f.began)
	for sent := 0; ; {
		<-ticker.C
		now := time.Since(f.began)
		n := min(int((now-begin).Seconds()*rate), int(length.Seconds()*rate))
		for ; sent < n; sent++ {
			if err := f.add(now, begin+time.Duration(float64(sent)/rate*float64(time.Second))); err != nil {
				return err
			}
		}
		if err := f.send(); err != nil || now-begin >= length {
			return err
		}
	}
}

// keeping has that many puts under way, for a while.
func (f *flooder) keeping(n int64, length time.Duration) error {
	end := time.Since(f.began) + length
	for {
		now := time.Since(f.began)
		if now >= end {
			return nil
		}
		for range n - f.underWay.Load() {
			if err := f.add(now, now); err != nil {
				return err
			}
		}
		if err := f.send(); err != nil {
			return err
		}
		<-f.freed
	}
}

// add takes a put that was due into the next message, unless it is late already.
func (f *flooder) add(now, due time.Duration) error {
	left := due + floodTimeout - now
	if left < 2*time.Millisecond {
		f.mu.Lock()
		f.out.Unsent++
		f.mu.Unlock()
		return nil
	}
	n := len(f.requests.Requests)
	if n == len(f.slots) {
		f.slots = append(f.slots, floodSlot{})
	}
	s := &f.slots[n]
	f.next++
	s.put = dynamov1.PutRequest{Key: []byte(benchKey(int(f.next))), Value: f.value, Overwrite: true}
	s.of.Put = &s.put
	s.request = dynamov1.Request{Id: f.next, Timeout: uint64(left - left/100), Op: &s.of}
	f.requests.Requests = append(f.requests.Requests, nil)
	f.underWay.Add(1)
	f.mu.Lock()
	f.due[f.next] = due
	f.mu.Unlock()
	if n+1 == maxFloodBatch {
		return f.send()
	}
	return nil
}

// maxFloodBatch bounds a message.
const maxFloodBatch = 512

func (f *flooder) send() error {
	if len(f.requests.Requests) == 0 {
		return nil
	}
	for i := range f.requests.Requests {
		f.requests.Requests[i] = &f.slots[i].request
	}
	var m frame.Message
	if _, err := f.requests.MarshalToSizedBufferVT(m.Alloc(f.requests.SizeVT())); err != nil {
		return err
	}
	f.requests.Requests = f.requests.Requests[:0]
	return f.stream.SendMsg(&m)
}

// receive takes answers.
func (f *flooder) receive() {
	for {
		var m frame.Message
		if f.stream.RecvMsg(&m) != nil {
			return
		}
		f.take(m.Bytes())
		m.Free()
		select {
		case f.freed <- struct{}{}:
		default:
		}
	}
}

// take counts the replies of a message.
func (f *flooder) take(b []byte) {
	now := time.Since(f.began)
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(b) > 0 {
		_, _, n := protowire.ConsumeTag(b)
		reply, m := protowire.ConsumeBytes(b[n:])
		b = b[n+m:]
		_, _, n = protowire.ConsumeTag(reply)
		id, m := protowire.ConsumeVarint(reply[n:])
		field, _, n2 := protowire.ConsumeTag(reply[n+m:])
		result, _ := protowire.ConsumeBytes(reply[n+m+n2:])
		due, ok := f.due[id]
		if !ok {
			continue // it was given up
		}
		delete(f.due, id)
		f.underWay.Add(-1)
		f.count(field, result, now-due)
	}
}

// count takes one reply, by its field of a Reply.
func (f *flooder) count(field protowire.Number, result []byte, took time.Duration) {
	reason := dynamov1.Reason_REASON_UNSPECIFIED
	if field == 4 && len(result) > 1 {
		reason = dynamov1.Reason(result[1])
	}
	switch {
	case field != 4 && took <= floodTimeout:
		f.out.OK++
		f.out.took = append(f.out.took, took)
	case reason == dynamov1.Reason_REASON_OVERLOADED:
		f.out.Overloaded++
		f.out.turned = append(f.out.turned, took)
	case field != 4 || reason == dynamov1.Reason_REASON_TIMEOUT:
		f.out.Late++
	default:
		f.out.Other++
	}
}

// end waits until what is under way has been answered or is past its deadline,
// and returns what became of all since the latest end.
func (f *flooder) end() flooded {
	for limit := time.Now().Add(2 * floodTimeout); f.underWay.Load() > 0 && time.Now().Before(limit); {
		<-time.After(floodTick)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.out
	out.Unanswered = int64(len(f.due))
	clear(f.due)
	f.underWay.Store(0)
	f.out = flooded{}
	return out
}

// flood has all flooders do the same at once, and sums up what came of it.
func flood(all []*flooder, do func(f *flooder) error) (out flooded, err error) {
	began := time.Now()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, f := range all {
		wg.Go(func() { errs[i] = do(f) })
	}
	wg.Wait()
	out.Took = time.Since(began)
	for _, f := range all {
		one := f.end()
		out.plus(&one)
	}
	out.P50, out.P99 = percentiles(out.took)
	_, out.TurnedP99 = percentiles(out.turned)
	return out, errors.Join(errs...)
}

func percentiles(all []time.Duration) (p50, p99 time.Duration) {
	slices.Sort(all)
	if n := len(all); n > 0 {
		return all[n/2], all[n*99/100]
	}
	return 0, 0
}

// flooded is how an open-loop load went: requests come at their rate, whatever
// became of those before.
type flooded struct {
	OK, Overloaded, Late, Other int64
	Unsent                      int64         // the node did not take them in time
	Unanswered                  int64         // nor was there an answer soon after their deadline
	Took                        time.Duration // from the first request to the last
	P50, P99                    time.Duration // of those that were ok, from when they were due
	TurnedP99                   time.Duration // of those that were turned away

	took, turned []time.Duration
}

// plus adds what went through another node.
func (f *flooded) plus(o *flooded) {
	f.OK += o.OK
	f.Overloaded += o.Overloaded
	f.Late += o.Late
	f.Other += o.Other
	f.Unsent += o.Unsent
	f.Unanswered += o.Unanswered
	f.Took = max(f.Took, o.Took)
	f.P50, f.P99 = max(f.P50, o.P50), max(f.P99, o.P99)
	f.took, f.turned = append(f.took, o.took...), append(f.turned, o.turned...)
}

func (f *flooded) goodput() float64 { return float64(f.OK) / f.Took.Seconds() }

func (f *flooded) String() string {
	return fmt.Sprintf("p50 %v, p99 %v; %d overloaded (p99 %v), %d late, %d unsent, %d unanswered, %d other",
		f.P50.Round(time.Microsecond), f.P99.Round(time.Microsecond), f.Overloaded, f.TurnedP99.Round(time.Microsecond),
		f.Late, f.Unsent, f.Unanswered, f.Other)
}
