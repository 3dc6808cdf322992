package version

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/id"
)

func TestTokenRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "key")
		c := NewContext(key, genClock(t))
		token := c.Token()
		got, err := ParseContext(token)
		if err != nil || !got.Clock.Equal(c.Clock) || got.key != c.key || got.Token() != token {
			t.Fatalf("%v becomes %v, %v", c, got, err)
		}
		binary := c.AppendBinary([]byte("before"))
		if again, err := DecodeContext(binary[len("before"):]); err != nil || again.Token() != token {
			t.Fatalf("%v becomes %v, %v in binary", c, again, err)
		}
		if err := got.For(key); err != nil {
			t.Fatal(err)
		}
		if err := got.For(append(key, 'x')); !errors.Is(err, ErrContextKey) {
			t.Fatalf("For another key: %v, want ErrContextKey", err)
		}
	})
}

func TestZeroContext(t *testing.T) {
	var c Context
	if !c.IsZero() || c.For([]byte("any")) != nil {
		t.Error("the zero Context is bound to a key")
	}
	if NewContext([]byte("k"), Clock{}).IsZero() {
		t.Error("the context of a key that was never written is none")
	}
	if got, err := ParseContext(c.Token()); err != nil || !got.IsZero() {
		t.Errorf("the zero Context becomes %v, %v", got, err)
	}
}

// TestLongestToken has the most clock entries that a client's put may leave,
// with the longest node IDs and counters.
func TestLongestToken(t *testing.T) {
	vector := make([]Dot, id.MaxClockEntries)
	for i := range vector {
		node := fmt.Sprintf("%0*d", id.MaxNodeBytes, i)
		vector[i] = Dot{Actor{id.Node(node), Epoch{^uint64(0), ^uint64(0)}}, MaxContextCounter}
	}
	token := NewContext([]byte("k"), mustClock(t, vector, nil)).Token()
	t.Logf("%d characters", len(token))
	if _, err := ParseContext(token); err != nil {
		t.Error(err)
	}
}

// sealed returns a token with these bytes and a checksum that matches.
func sealed(b []byte) string {
	b = binary.LittleEndian.AppendUint32(bytes.Clone(b), uint32(xxhash.Sum64(b)))
	return base64.RawURLEncoding.EncodeToString(b)
}

func TestParseContextRefuses(t *testing.T) {
	good := NewContext([]byte("k"), DotClock(dot("a1", 1))).Token()
	raw, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	body := raw[:len(raw)-tokenTail]
	high := NewContext([]byte("k"), DotClock(dot("a1", MaxContextCounter+1))).Token()
	next := append([]byte{contextVersion + 1}, body[1:]...)
	for name, tc := range map[string]struct{ token, want string }{
		"empty":            {"", "0 bytes; too short"},
		"too short":        {sealed(body[:tokenHead-1]), "too short"},
		"too long":         {strings.Repeat("A", id.MaxContextBytes+1), "131073 characters; at most 131072"},
		"not base64":       {good[:5] + "!" + good[6:], "not base64url"},
		"padding":          {good + "=", "not base64url"},
		"line break":       {good[:5] + "\n" + good[5:], "line break"},
		"cut short":        {good[:len(good)-2], "checksum"},
		"changed":          {"B" + good[1:], "version 5"},
		"flipped":          {good[:8] + "_" + good[9:], "checksum"},
		"other version":    {sealed(next), "version 2; only 1"},
		"no clock":         {sealed(body[:tokenHead]), "malformed clock: format version"},
		"clock not sound":  {sealed(body[:len(body)-1]), "malformed clock"},
		"trailing garbage": {sealed(append(bytes.Clone(body), 0)), "1 bytes after the clock"},
		"counter too high": {high, "at most 4611686018427387904"},
	} {
		if c, err := ParseContext(tc.token); !errors.Is(err, ErrContextMalformed) || !strings.Contains(err.Error(), tc.want) || !c.IsZero() {
			t.Errorf("%s: %v, %v; want an error with %q", name, c, err, tc.want)
		}
	}
}

// TestOneTokenOneContext changes the bits that base64 leaves over.
func TestDecodeContextRefuses(t *testing.T) {
	good := NewContext([]byte("k"), Clock{}).AppendBinary(nil)
	changed := bytes.Clone(good)
	changed[3]++
	for name, b := range map[string][]byte{
		"nothing": nil, "cut short": good[:len(good)-1], "something after it": append(bytes.Clone(good), 0),
		"changed": changed, "too long": make([]byte, maxBinary+1),
	} {
		if c, err := DecodeContext(b); !errors.Is(err, ErrContextMalformed) || !c.IsZero() {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
}

func TestOneTokenOneContext(t *testing.T) {
	token := NewContext([]byte("k"), Clock{}).Token()
	last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", token[len(token)-1])
	if len(token)%4 == 0 {
		t.Fatalf("%d characters leave no bits over", len(token))
	}
	other := token[:len(token)-1] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last|1])
	if c, err := ParseContext(other); !errors.Is(err, ErrContextMalformed) {
		t.Errorf("a second spelling of a token parses: %v, %v", c, err)
	}
}
