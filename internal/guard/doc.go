// Package guard is how every machine calls a peer: circuit breaker and retry,
// put together once. It is a calculator that the calling machine owns; the
// machine sends, waits and keeps the time.
//
// A Call is one thing that is asked of one peer. It may take several tries, and
// it has one outcome, after the last of them:
//
//	if g.Open(peer) { ask somebody else }
//	g.Try(&call, peer)                    // with each try, before it is sent
//	g.Answered(now, &call, latency, out)  // it has worked
//	g.Refused(&call)                      // the peer has answered that it will not
//	g.Retry(now, &call, why, limit, out)  // a try has failed: when is the next one?
//	g.Failed(&call, why, out)             // it has failed, and is not to be repeated
//	g.Dropped(&call, out)                 // nobody waits for it any more
//
// The breakers are Control's, since shards cannot share a count of failures:
// the guard tells it outcomes, and reads the state from the view.
package guard
