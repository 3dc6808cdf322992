package wire

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

// The JSON of a batch is the JSON mapping of its protobuf message, with enums
// as numbers, so that a value that only a newer node knows can be told from
// none. It has one meaning with the bytes of that message: DecodeJSON turns it
// into these and has a Decoder look at them.

const (
	// MaxJSONBytes bounds a batch in JSON: a message of id.MaxMessageBytes, of
	// which nearly all is in base64, and names of fields for small messages.
	MaxJSONBytes = id.MaxMessageBytes/3*4 + 1<<20

	// maxJSONObjects and maxJSONValues bound the objects and lists, and the
	// values of lists and objects, since an empty one takes 3 bytes in JSON and
	// up to a hundred times as much in memory: maxElements, four for each
	// envelope, and those signs that may stand in zones of MaxMembers members;
	// and a value for each of the bytes of a batch.
	maxJSONObjects = maxElements + 4*MaxBatchEnvelopes + 64*id.MaxMembers
	maxJSONValues  = 2 * MaxBatchBytes

	// maxErrorBytes bounds what an error says of a batch that is not JSON.
	maxErrorBytes = 256

	// maxJSONDepth bounds how deep objects nest; ours do ten deep.
	maxJSONDepth = 100
)

// EncodeJSON returns the batch that Encode writes, as JSON. The error says
// which text is not valid UTF-8, which JSON cannot carry and no receiver takes.
func (c *Encoder) EncodeJSON(now time.Duration, envelopes []core.Envelope) ([]byte, error) {
	c.fill(now, envelopes)
	defer c.release(len(envelopes))
	b, err := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(&c.batch)
	if err != nil {
		return nil, fmt.Errorf("a batch cannot be written as JSON: %w", err)
	}
	return b, nil
}

// DecodeJSON is Decode of a batch in JSON.
func (d *Decoder) DecodeJSON(now time.Duration, b []byte, deliver func(*core.Envelope)) (Result, error) {
	plain, err := fromJSON(b)
	if err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return d.Decode(now, plain, deliver)
}

// fromJSON returns the batch in the encoding of protobuf.
func fromJSON(b []byte) ([]byte, error) {
	if len(b) > MaxJSONBytes {
		return nil, fmt.Errorf("%d bytes; at most %d are allowed", len(b), MaxJSONBytes)
	}
	if n := bytes.Count(b, []byte("{")) + bytes.Count(b, []byte("[")); n > maxJSONObjects {
		return nil, fmt.Errorf("%d objects and lists; at most %d are allowed", n, maxJSONObjects)
	}
	if n := bytes.Count(b, []byte(",")); n > maxJSONValues {
		return nil, fmt.Errorf("%d values; at most %d are allowed", n, maxJSONValues)
	}
	batch := new(dynamov1.Batch)
	options := protojson.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: maxJSONDepth}
	if err := options.Unmarshal(b, batch); err != nil {
		return nil, errors.New(Excerpt(err.Error(), maxErrorBytes)) // it quotes what it does not take, whole
	}
	return batch.MarshalVT()
}

// Excerpt returns a text as errors show it: at most about so many bytes of it,
// since who sends what is wrong chooses how long it is.
func Excerpt[T ~string | ~[]byte](text T, most int) string {
	if len(text) <= most {
		return string(text)
	}
	return fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(string(text[:most]), ""), len(text))
}
