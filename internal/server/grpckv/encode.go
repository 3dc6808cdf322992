package grpckv

import (
	"fmt"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/server"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// encoder writes replies. It keeps its memory from one message to the next, so
// that replies are written with few allocations. The zero encoder is ready; one
// goroutine uses it at a time.
type encoder struct {
	replies dynamov1.Replies
	slots   []*slot
	shown   []server.Shown // of the latest read
	scratch []byte         // the contexts and clocks of this message, one after another
	// overloaded are the results of those that were turned away as they came.
	overloaded *refusals
}

// refusals are the results of requests that are turned away, by operation: they
// are all alike.
type refusals [core.Ops]dynamov1.Reply_Failure

func newRefusals() *refusals {
	var r refusals
	for op := range r {
		r[op].Failure = &failed(core.Op(op), overloaded()).Failure
	}
	return &r
}

// slot has the structs of one reply.
type slot struct {
	reply     dynamov1.Reply
	got       dynamov1.GetReply
	gotOf     dynamov1.Reply_Got
	value     dynamov1.Value // the first, and mostly only one
	written   dynamov1.WriteReply
	writtenOf dynamov1.Reply_Written
}

func newSlot() *slot {
	s := new(slot)
	s.gotOf.Got, s.writtenOf.Written = &s.got, &s.written
	return s
}

// add takes the reply to a call into the next message.
func (e *encoder) add(c *call) {
	s := e.slot(c.id)
	switch {
	case c.failure != nil:
		s.reply.Result = &dynamov1.Reply_Failure{Failure: &c.failure.Failure}
	case c.request.Op == core.OpGet:
		e.gotInto(s, &c.request, c.result)
		s.reply.Result = &s.gotOf
	default:
		e.writtenInto(s, &c.request, c.result)
		s.reply.Result = &s.writtenOf
	}
}

// addTurned takes the reply to a request that was turned away into it.
func (e *encoder) addTurned(t turned) { e.slot(t.id).reply.Result = &e.overloaded[t.op] }

// slot returns that of the next message's next reply, without a result.
func (e *encoder) slot(id uint64) *slot {
	n := len(e.replies.Replies)
	if n == len(e.slots) {
		e.slots = append(e.slots, newSlot())
	}
	s := e.slots[n]
	s.reply.Id = id
	e.replies.Replies = append(e.replies.Replies, &s.reply)
	return s
}

// encode writes the message into memory from alloc, and begins a new one.
func (e *encoder) encode(alloc func(size int) []byte) {
	b := alloc(e.replies.SizeVT())
	if _, err := e.replies.MarshalToSizedBufferVT(b); err != nil {
		panic(fmt.Sprintf("grpckv: %d bytes do not hold the replies that they were counted for: %v", len(b), err))
	}
	for _, s := range e.slots[:len(e.replies.Replies)] { // lets go of the values
		s.reply.Result = nil
		clear(s.got.Values)
		s.got.Values, s.got.Context = s.got.Values[:0], nil
		s.value.Data, s.value.Clock = nil, nil
		s.written.Context = nil
	}
	clear(e.replies.Replies)
	e.replies.Replies = e.replies.Replies[:0]
	clear(e.shown)
	if cap(e.scratch) > keepScratch {
		e.scratch = nil
	}
	e.scratch = e.scratch[:0]
}

// got returns the reply to a single call.
func (e *encoder) got(q *core.Request, r core.Result) *dynamov1.GetReply {
	s := newSlot()
	e.gotInto(s, q, r)
	return &s.got
}

func (e *encoder) gotInto(s *slot, q *core.Request, r core.Result) {
	e.shown = server.Show(e.shown[:0], r.Set)
	for i, v := range e.shown {
		value := &s.value
		if i > 0 {
			value = new(dynamov1.Value)
		}
		value.Data, value.Clock, value.Timestamp = v.Data, e.keep(v.Clock.AppendBinary), v.Timestamp
		s.got.Values = append(s.got.Values, value)
	}
	s.got.Context = e.context(q, r)
	s.got.Replicas, s.got.Fallbacks, s.got.Required = uint32(r.Acknowledged), uint32(r.Fallbacks), uint32(r.Required)
}

// written returns the reply to a single call.
func (e *encoder) written(q *core.Request, r core.Result) *dynamov1.WriteReply {
	s := newSlot()
	e.writtenInto(s, q, r)
	return &s.written
}

func (e *encoder) writtenInto(s *slot, q *core.Request, r core.Result) {
	s.written.Context = e.context(q, r)
	s.written.Replicas, s.written.Hinted = uint32(r.Acknowledged), uint32(r.Fallbacks)
	s.written.Required = uint32(r.Required)
}

// context returns the context that goes with a result, none where it is empty.
func (e *encoder) context(q *core.Request, r core.Result) []byte {
	if r.Context.IsEmpty() {
		return nil
	}
	return e.keep(version.NewContext(q.Key, r.Context).AppendBinary)
}

// keep returns what appendTo appends, in the scratch memory.
func (e *encoder) keep(appendTo func([]byte) []byte) []byte {
	begin := len(e.scratch)
	e.scratch = appendTo(e.scratch)
	return e.scratch[begin:len(e.scratch):len(e.scratch)]
}
