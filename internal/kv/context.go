package kv

import (
	"fmt"

	"github.com/dynamo-kv/dynamo/internal/version"
)

// Context is what a client has seen of one key. A read or a write returns it;
// handed to a later write of the same key, it says which values that write
// replaces: exactly those that the context covers, and none that its holder
// has not read. It is opaque, immutable and safe for concurrent use. A nil
// Context has seen nothing.
type Context struct{ c version.Context }

// NewContext returns c as callers see it.
func NewContext(c version.Context) *Context { return &Context{c} }

// Inner returns what c holds; c is not nil.
func Inner(c *Context) version.Context { return c.c }

// Token returns the context as text that is safe in a URL or a header, empty
// for nil. It is what the HTTP API calls Dynamo-Context.
func (c *Context) Token() string {
	if c == nil {
		return ""
	}
	return c.c.Token()
}

// String returns the token.
func (c *Context) String() string { return c.Token() }

// ParseContext returns the context of a token, nil for an empty one. The
// error wraps ErrInvalidContext.
func ParseContext(token string) (*Context, error) {
	if token == "" {
		return nil, nil
	}
	c, err := version.ParseContext(token)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidContext, err)
	}
	return &Context{c}, nil
}
