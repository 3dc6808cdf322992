package grpckv

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
)

// decoder reads messages of requests. It keeps its memory from one message to
// the next, and what it returns refers to the message. The generated code would
// allocate some five times for each request, and for a message that says nothing
// but how many there are, hundreds of times its size before anybody counts. The
// zero decoder is ready; one goroutine uses it at a time.
type decoder struct {
	requests []*dynamov1.Request
	slots    []*decoded
}

// decoded has the structs of one request.
type decoded struct {
	request  dynamov1.Request
	get      dynamov1.GetRequest
	getOf    dynamov1.Request_Get
	put      dynamov1.PutRequest
	putOf    dynamov1.Request_Put
	delete   dynamov1.DeleteRequest
	deleteOf dynamov1.Request_Delete
}

func newDecoded() *decoded {
	s := new(decoded)
	s.getOf.Get, s.putOf.Put, s.deleteOf.Delete = &s.get, &s.put, &s.delete
	return s
}

// decode reads a Requests. What it returns is valid until clear, and as long as
// the message is.
func (d *decoder) decode(message []byte) ([]*dynamov1.Request, error) {
	r := fields{rest: message}
	for r.next() {
		if r.number != 1 {
			continue
		}
		one := r.bytes()
		n := len(d.requests)
		if n == maxRequests {
			return nil, fmt.Errorf("it has more than %d requests, the most that is allowed", maxRequests)
		}
		if n == len(d.slots) {
			d.slots = append(d.slots, newDecoded())
		}
		if err := d.slots[n].decode(one); err != nil {
			return nil, err
		}
		d.requests = append(d.requests, &d.slots[n].request)
	}
	return d.requests, r.err
}

// clear lets go of the latest message.
func (d *decoder) clear() {
	for i := range d.slots {
		s := d.slots[i]
		if i > len(d.requests) { // where decode has failed, one more was begun
			break
		}
		s.request.Id, s.request.Timeout, s.request.Op = 0, 0, nil
		s.request.Traceparent, s.request.RequestId = "", ""
		s.clearOps()
	}
	clear(d.requests)
	d.requests = d.requests[:0]
	if len(d.slots) > keepDecoded {
		d.slots = slices.Clone(d.slots[:keepDecoded])
	}
}

func (s *decoded) clearOps() {
	s.get.Key, s.get.R, s.get.Quorum, s.get.BlockingRepair = nil, 0, 0, false
	s.put.Key, s.put.Value, s.put.Context, s.put.Overwrite = nil, nil, nil, false
	s.put.W, s.put.Quorum, s.put.WriteId = 0, 0, nil
	s.delete.Key, s.delete.Context, s.delete.Overwrite = nil, nil, false
	s.delete.W, s.delete.Quorum, s.delete.WriteId = 0, 0, nil
}

// decode reads a Request. Of several operations the last one counts, and the
// fields of one that stands there in parts are put together, as protobuf has it.
func (s *decoded) decode(b []byte) error {
	r := fields{rest: b}
	for r.next() {
		switch r.number {
		case 1:
			s.request.Id = r.varint()
		case 2:
			s.request.Timeout = r.varint()
		case 3:
			if s.request.Op != &s.getOf {
				s.clearOps()
				s.request.Op = &s.getOf
			}
			r.fail(decodeGet(&s.get, r.bytes()))
		case 4:
			if s.request.Op != &s.putOf {
				s.clearOps()
				s.request.Op = &s.putOf
			}
			r.fail(decodePut(&s.put, r.bytes()))
		case 5:
			if s.request.Op != &s.deleteOf {
				s.clearOps()
				s.request.Op = &s.deleteOf
			}
			r.fail(decodeDelete(&s.delete, r.bytes()))
		case 6:
			s.request.Traceparent = string(r.bytes())
		case 7:
			s.request.RequestId = string(r.bytes())
		}
	}
	return r.err
}

func decodeGet(m *dynamov1.GetRequest, b []byte) error {
	r := fields{rest: b}
	for r.next() {
		switch r.number {
		case 1:
			m.Key = r.bytes()
		case 2:
			m.R = uint32(r.varint())
		case 3:
			m.Quorum = dynamov1.QuorumKind(r.varint())
		case 4:
			m.BlockingRepair = r.varint() != 0
		}
	}
	return r.err
}

func decodePut(m *dynamov1.PutRequest, b []byte) error {
	return writeFields{&m.Key, &m.Value, &m.Context, &m.WriteId, &m.Overwrite, &m.W, &m.Quorum}.decode(b)
}

func decodeDelete(m *dynamov1.DeleteRequest, b []byte) error {
	return writeFields{&m.Key, nil, &m.Context, &m.WriteId, &m.Overwrite, &m.W, &m.Quorum}.decode(b)
}

// writeFields are those of a put or a delete, which have the same numbers.
type writeFields struct {
	key, value, context, writeID *[]byte // a delete has no value
	overwrite                    *bool
	w                            *uint32
	quorum                       *dynamov1.QuorumKind
}

func (m writeFields) decode(b []byte) error {
	r := fields{rest: b}
	for r.next() {
		switch r.number {
		case 1:
			*m.key = r.bytes()
		case 2:
			if m.value != nil {
				*m.value = r.bytes()
			}
		case 3:
			*m.context = r.bytes()
		case 4:
			*m.overwrite = r.varint() != 0
		case 5:
			*m.w = uint32(r.varint())
		case 6:
			*m.quorum = dynamov1.QuorumKind(r.varint())
		case 7:
			*m.writeID = r.bytes()
		}
	}
	return r.err
}

// fields goes over the fields of a message. What is not asked for is skipped.
type fields struct {
	rest   []byte
	number int
	kind   protowire.Type
	value  []byte // with its length, where it has one
	err    error
}

// next goes to the next field. False: there is none, or err says what is wrong.
func (f *fields) next() bool {
	if f.err != nil || len(f.rest) == 0 {
		return false
	}
	number, kind, tag := protowire.ConsumeTag(f.rest)
	if tag < 0 {
		f.err = protowire.ParseError(tag)
		return false
	}
	size := protowire.ConsumeFieldValue(number, kind, f.rest[tag:])
	if size < 0 {
		f.err = protowire.ParseError(size)
		return false
	}
	f.number, f.kind, f.value = int(number), kind, f.rest[tag:tag+size]
	f.rest = f.rest[tag+size:]
	return true
}

// bytes returns the value of a field of bytes, which refers to the message.
func (f *fields) bytes() []byte {
	if f.kind != protowire.BytesType {
		f.fail(fmt.Errorf("field %d has the wire type %d; bytes are %d", f.number, f.kind, protowire.BytesType))
		return nil
	}
	b, _ := protowire.ConsumeBytes(f.value) // which next has checked
	return slices.Clip(b)
}

// varint returns the value of a field of a number.
func (f *fields) varint() uint64 {
	if f.kind != protowire.VarintType {
		f.fail(fmt.Errorf("field %d has the wire type %d; numbers are %d", f.number, f.kind, protowire.VarintType))
		return 0
	}
	v, _ := protowire.ConsumeVarint(f.value) // which next has checked
	return v
}

func (f *fields) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}
