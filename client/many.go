package client

import (
	"context"
	"errors"
	"iter"
	"slices"
)

// manyUnderWay is how many requests of a batch are under way at a time: enough to
// keep the nodes busy, and what one caller among many may take of them.
const manyUnderWay = 128

// Got is what GetMany found of one key.
type Got struct {
	Key    string
	Result *GetResult
	Err    error // as Get returns it
}

// Item is one write of PutMany.
type Item struct {
	Key     string
	Value   []byte
	Context *Context // of what was seen of the key; nil for nothing
}

// Wrote is what became of one write of PutMany.
type Wrote struct {
	Key     string
	Context *Context
	Err     error // as Put returns it
}

// GetMany reads many keys, with up to 128 reads under way at a time, and yields
// their results in the order of the keys. The options and the timeout are for
// each read; ReportQuorum is not allowed, since each result has its own quorum.
// Each call of the sequence reads anew; leaving the loop early ends what is under
// way.
//
//	for got := range c.GetMany(ctx, slices.Values(keys)) {
//		if got.Err != nil { … }
//		use(got.Key, got.Result)
//	}
func (c *Client) GetMany(ctx context.Context, keys iter.Seq[string], options ...Option) iter.Seq[Got] {
	options = forEach(options)
	return many(ctx, keys, func(ctx context.Context, key string) Got {
		r, err := c.Get(ctx, key, options...)
		return Got{key, r, err}
	})
}

// PutMany carries out many writes, with up to 128 under way at a time, and
// yields their results in the order of the items. Writes of one key may be
// carried out in any order: put each key once. The options and the timeout are
// for each write; with [Overwrite] the items have no contexts, and ReportQuorum
// is not allowed. Leaving the loop early ends what is under way, with outcomes that
// nobody then knows, and begins nothing more.
func (c *Client) PutMany(ctx context.Context, items iter.Seq[Item], options ...Option) iter.Seq[Wrote] {
	options = forEach(options)
	return many(ctx, items, func(ctx context.Context, i Item) Wrote {
		seen, err := c.Put(ctx, i.Key, i.Value, i.Context, options...)
		return Wrote{i.Key, seen, err}
	})
}

// forEach returns the options of many requests at a time, which cannot fill in
// one report.
func forEach(options []Option) []Option {
	return append(slices.Clip(options), func(r *request) {
		if r.met != nil {
			r.keep(errors.New("a report of the quorum is for a single request"))
		}
	})
}

// many calls do for each of in, for some at a time, and yields what it returns
// in the order of in.
func many[In, Out any](ctx context.Context, in iter.Seq[In], do func(context.Context, In) Out) iter.Seq[Out] {
	return func(yield func(Out) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var underWay []chan Out // in order
		defer func() {
			cancel()
			for _, c := range underWay {
				<-c
			}
		}()
		next := func() bool {
			out := <-underWay[0]
			underWay = underWay[1:]
			return yield(out)
		}
		for i := range in {
			if len(underWay) == manyUnderWay && !next() {
				return
			}
			c := make(chan Out, 1)
			underWay = append(underWay, c)
			go func() { c <- do(ctx, i) }()
		}
		for len(underWay) > 0 {
			if !next() {
				return
			}
		}
	}
}
