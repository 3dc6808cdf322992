package dynamo

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc/credentials"
)

// This file is the one place where connections become secure: the listener,
// for whoever connects, and the two ways in which a node connects to others.

// secured returns l, with TLS where that is configured. What a connection
// speaks is still told by its first bytes, those within TLS.
func (n *Node) secured(l net.Listener) net.Listener {
	if n.cfg.TLS == nil {
		return l
	}
	c := n.cfg.TLS.Clone()
	// A client that can speak both, such as curl, is served HTTP/1.1: behind
	// HTTP/2 there is gRPC alone.
	c.NextProtos = []string{"http/1.1", "h2"}
	return tls.NewListener(l, c)
}

// dialCredentials returns those of the streams to other nodes; nil: none.
func (n *Node) dialCredentials() credentials.TransportCredentials {
	if n.cfg.TLS == nil {
		return nil
	}
	return credentials.NewTLS(n.cfg.TLS.Clone())
}

// peersClient asks other nodes over HTTP: for people, seldom, so that a few
// connections are kept for a while at most.
func (n *Node) peersClient() *http.Client {
	t := &http.Transport{MaxIdleConns: 16, IdleConnTimeout: time.Minute}
	if n.cfg.TLS != nil {
		d := tls.Dialer{Config: n.cfg.TLS.Clone()}
		t.DialContext = d.DialContext // the URLs stay those of HTTP
	}
	return &http.Client{
		Transport: t,
		// A node answers for itself or not at all.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
