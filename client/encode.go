package client

import (
	"fmt"
	"time"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
)

// encoder writes requests. It keeps its memory from one message to the next.
// The zero encoder is ready; one goroutine uses it at a time.
type encoder struct {
	requests dynamov1.Requests
	slots    []*slot
}

// slot has the structs of one request.
type slot struct {
	request  dynamov1.Request
	get      dynamov1.GetRequest
	getOf    dynamov1.Request_Get
	put      dynamov1.PutRequest
	putOf    dynamov1.Request_Put
	delete   dynamov1.DeleteRequest
	deleteOf dynamov1.Request_Delete
}

func newSlot() *slot {
	s := new(slot)
	s.getOf.Get, s.putOf.Put, s.deleteOf.Delete = &s.get, &s.put, &s.delete
	return s
}

// add takes a request into the next message.
func (e *encoder) add(id uint64, timeout time.Duration, r *request) {
	n := len(e.requests.Requests)
	if n == len(e.slots) {
		e.slots = append(e.slots, newSlot())
	}
	s := e.slots[n]
	s.request.Id, s.request.Timeout = id, uint64(timeout)
	s.request.RequestId, s.request.Traceparent = r.requestID, r.trace
	switch r.op {
	case opGet:
		s.get.Key, s.get.R, s.get.Quorum, s.get.BlockingRepair = r.key, r.r, r.quorum, r.blocking
		s.request.Op = &s.getOf
	case opPut:
		s.put.Key, s.put.Value, s.put.Context, s.put.Overwrite = r.key, r.value, r.context, r.overwrite
		s.put.W, s.put.Quorum, s.put.WriteId = r.w, r.quorum, r.writeID[:]
		s.request.Op = &s.putOf
	case opDelete:
		s.delete.Key, s.delete.Context, s.delete.Overwrite = r.key, r.context, r.overwrite
		s.delete.W, s.delete.Quorum, s.delete.WriteId = r.w, r.quorum, r.writeID[:]
		s.request.Op = &s.deleteOf
	}
	e.requests.Requests = append(e.requests.Requests, &s.request)
}

// encode writes the message into memory from alloc, and begins a new one.
func (e *encoder) encode(alloc func(size int) []byte) {
	b := alloc(e.requests.SizeVT())
	if _, err := e.requests.MarshalToSizedBufferVT(b); err != nil {
		panic(fmt.Sprintf("client: %d bytes do not hold the requests that they were counted for: %v", len(b), err))
	}
	for _, s := range e.slots[:len(e.requests.Requests)] { // lets go of keys and values
		s.request.Op, s.request.RequestId, s.request.Traceparent = nil, "", ""
		s.get.Key = nil
		s.put.Key, s.put.Value, s.put.Context, s.put.WriteId = nil, nil, nil, nil
		s.delete.Key, s.delete.Context, s.delete.WriteId = nil, nil, nil
	}
	clear(e.requests.Requests)
	e.requests.Requests = e.requests.Requests[:0]
}
