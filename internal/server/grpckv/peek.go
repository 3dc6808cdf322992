package grpckv

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// The fields of the messages that are read without being decoded.
const (
	fieldRequests = 1 // of Requests
	fieldID       = 1 // of Request
	fieldGet      = 3 // … its operations
	fieldPut      = 4
	fieldDelete   = 5
	fieldKey      = 1 // of each operation
)

// split appends the encoded requests of an encoded Requests to a list. False: it
// must be decoded, since it is malformed, has too many or something else in it.
func split(list [][]byte, b []byte) (_ [][]byte, ok bool) {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 || field != fieldRequests || kind != protowire.BytesType || len(list) == maxRequests {
			return list, false
		}
		one, m := protowire.ConsumeBytes(b[n:])
		if m < 0 {
			return list, false
		}
		list, b = append(list, one), b[n+m:]
	}
	return list, true
}

// peeked is what turning a request away needs to know of it.
type peeked struct {
	id  uint64
	op  core.Op
	key []byte // in the message's memory
}

// peek reads it from an encoded Request. False: the request must be decoded,
// since it is malformed, has no operation or says what it asks for in pieces.
func peek(b []byte) (p peeked, ok bool) {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return p, false
		}
		b = b[n:]
		switch {
		case field == fieldID && kind == protowire.VarintType:
			p.id, n = protowire.ConsumeVarint(b)
		case field >= fieldGet && field <= fieldDelete:
			var op []byte
			if op, n = protowire.ConsumeBytes(b); n < 0 || kind != protowire.BytesType || p.op != 0 {
				return p, false
			}
			p.op = [...]core.Op{core.OpGet, core.OpPut, core.OpDelete}[field-fieldGet]
			if p.key, ok = keyOf(op); !ok {
				return p, false
			}
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return p, false
		}
		b = b[n:]
	}
	return p, p.op != 0
}

// keyOf reads the key of an encoded operation. False: it must be decoded.
func keyOf(b []byte) (key []byte, ok bool) {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, false
		}
		b = b[n:]
		if field == fieldKey && kind == protowire.BytesType {
			key, n = protowire.ConsumeBytes(b)
		} else {
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return nil, false
		}
		b = b[n:]
	}
	return key, len(key) > 0
}
