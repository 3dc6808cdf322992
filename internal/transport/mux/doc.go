// Package mux lets one listening address serve HTTP/2 (gRPC) and HTTP/1.1:
// it tells connections apart by their first bytes and hands each to one of
// two listeners.
//
//	m := mux.New(ln, logger)
//	go grpcTransport.Serve(m.HTTP2())
//	go httpServer.Serve(m.HTTP1())
//	…
//	m.Close()
//
// A connection that begins with the preface of HTTP/2 goes to HTTP2, any
// other to HTTP1, as soon as its bytes tell. No byte is lost. Where TLS is
// spoken, ln is a TLS listener and the handshake is part of the time that a
// connection has to speak.
//
// Whoever connects and says nothing, or says it slowly, costs one entry of a
// bounded list for a bounded time; when the list is full, the connection
// that has been silent for longest makes room, so that those who speak are
// served whoever else is there.
//
// cmux, which is what others use for this, is not maintained any more, and
// matches by any number of rules where this needs one.
package mux
