package version

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/dynamo-kv/dynamo/internal/id"
)

// ErrContextMalformed is wrapped where a token is not one that this system
// gave out; ErrContextKey where it was given out for another key.
var (
	ErrContextMalformed = errors.New("malformed context")
	ErrContextKey       = errors.New("the context belongs to another key")
)

// MaxContextCounter bounds the counters in a token. It is far below
// MaxCounter, so that a token that a client made up cannot use up an actor's
// counters: after any token there are 2^62 left.
const MaxContextCounter = 1 << 62

// Context is what a client has seen of one key: a clock, bound to the key.
// The zero Context has seen nothing and belongs to no key.
type Context struct {
	Clock Clock
	key   uint64 // xxhash of the key
}

// NewContext returns the context of a client that has seen c of the key.
func NewContext(key []byte, c Clock) Context {
	return Context{Clock: c, key: xxhash.Sum64(key)}
}

// IsZero says whether c is the zero Context: none was given.
func (c Context) IsZero() bool { return c.key == 0 && c.Clock.IsEmpty() }

// For returns nil when c was made for the key, or is zero and so says nothing
// of any, and else an error that wraps ErrContextKey.
func (c Context) For(key []byte) error {
	if c.IsZero() || c.key == xxhash.Sum64(key) {
		return nil
	}
	return fmt.Errorf("%w; use the context that a read or write of this key returned", ErrContextKey)
}

// contextVersion is the first byte of a token.
const contextVersion = 1

// The fixed parts of the binary form, in bytes: version and key hash before the
// clock, the checksum after it.
const (
	tokenHead = 1 + 8
	tokenTail = 4
)

// maxBinary bounds the binary form: what the longest token holds.
const maxBinary = id.MaxContextBytes / 4 * 3

// Token returns the context as text that is safe in a header or a URL:
// AppendBinary's bytes as base64url without padding.
func (c Context) Token() string {
	return string(c.AppendToken(nil))
}

// AppendToken appends what Token returns.
func (c Context) AppendToken(b []byte) []byte {
	var memory [usualSize]byte
	return base64.RawURLEncoding.AppendEncode(b, c.AppendBinary(memory[:0]))
}

// usualSize is what the binary form of most contexts fits.
const usualSize = 192

// AppendBinary appends the context's binary form to b: a version byte, the
// key's hash, the clock, and 32 bits of the xxhash of all before. The checksum
// finds accidents; it is no protection against forgery, and needs to be none: a
// client that may write a key may also delete it.
func (c Context) AppendBinary(b []byte) []byte {
	begin := len(b)
	b = append(b, contextVersion)
	b = binary.LittleEndian.AppendUint64(b, c.key)
	b = c.Clock.AppendBinary(b)
	return binary.LittleEndian.AppendUint32(b, uint32(xxhash.Sum64(b[begin:])))
}

// ParseContext parses what Token returned, and nothing else. The error wraps
// ErrContextMalformed. The key is checked by For.
func ParseContext(token string) (Context, error) {
	if len(token) > id.MaxContextBytes {
		return Context{}, malformedf("%d characters; at most %d are allowed", len(token), id.MaxContextBytes)
	}
	if strings.ContainsAny(token, "\r\n") { // which the decoder would skip
		return Context{}, malformedf("line break in the token")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil {
		return Context{}, malformedf("not base64url without padding: %w", err)
	}
	return DecodeContext(b)
}

// DecodeContext decodes what AppendBinary appended, and nothing else. The
// context shares no memory with b. The error wraps ErrContextMalformed. The key
// is checked by For.
func DecodeContext(b []byte) (Context, error) {
	if len(b) > maxBinary {
		return Context{}, malformedf("%d bytes; at most %d are allowed", len(b), maxBinary)
	}
	if len(b) < tokenHead+tokenTail {
		return Context{}, malformedf("%d bytes; too short", len(b))
	}
	if b[0] != contextVersion {
		return Context{}, malformedf("version %d; only %d is known", b[0], contextVersion)
	}
	body, sum := b[:len(b)-tokenTail], binary.LittleEndian.Uint32(b[len(b)-tokenTail:])
	if uint32(xxhash.Sum64(body)) != sum {
		return Context{}, malformedf("the checksum does not match: cut short or changed on its way")
	}
	c := Context{key: binary.LittleEndian.Uint64(body[1:tokenHead])}
	var rest []byte
	var err error
	if c.Clock, rest, err = DecodeClock(body[tokenHead:]); err != nil {
		return Context{}, malformedf("%w", err)
	}
	if len(rest) > 0 {
		return Context{}, malformedf("%d bytes after the clock", len(rest))
	}
	if err := c.Clock.checkTokenCounters(); err != nil {
		return Context{}, err
	}
	return c, nil
}

// checkTokenCounters refuses counters that no token may have.
func (c Clock) checkTokenCounters() error {
	for _, list := range [2][]Dot{c.vector, c.dots} {
		for _, d := range list {
			if d.Counter > MaxContextCounter {
				return malformedf("counter %d; at most %d is allowed", d.Counter, uint64(MaxContextCounter))
			}
		}
	}
	return nil
}

// malformedf returns an error that wraps ErrContextMalformed.
func malformedf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrContextMalformed, fmt.Errorf(format, args...))
}
