package main

import (
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/spf13/cobra"
)

// debugHeaderTimeout bounds the header of a request for debugging, which comes
// from this machine.
const debugHeaderTimeout = 5 * time.Second

// debugServer answers at /debug/pprof on a listener of its own: what it shows
// and what it costs are not for whoever can reach the node. It stands in the
// program and not in the library, since a program that embeds a node has its
// own. nil is one that is off.
type debugServer struct {
	http     *http.Server
	listener net.Listener
	ended    chan struct{}
}

// listenDebug starts the server; without an address there is none.
func listenDebug(cmd *cobra.Command, addr string) (*debugServer, error) {
	if addr == "" {
		return nil, nil
	}
	if !loopback(addr) {
		return nil, usagef(cmd, "debug-addr is %q; a host:port on loopback is allowed, such as 127.0.0.1:6060: "+
			"what it shows is not for the network", addr)
	}
	var config net.ListenConfig
	l, err := config.Listen(cmd.Context(), "tcp", addr)
	if err != nil {
		return nil, exitf(exitNode, "the debugging server: %w", err)
	}
	d := &debugServer{
		http:     &http.Server{Handler: debugHandler(), ReadHeaderTimeout: debugHeaderTimeout},
		listener: l, ended: make(chan struct{}),
	}
	go func() {
		defer close(d.ended)
		if err := d.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			cmd.PrintErrf("dynamo: warning: the debugging server has ended: %v\n", err)
		}
	}()
	return d, nil
}

// debugHandler serves the profiles to requests that name this machine: a page
// of the web that a browser here shows names another, whatever its name is
// resolved to.
func debugHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !loopback(r.Host) {
			http.Error(w, "ask for this machine, such as 127.0.0.1", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// say prints where the server is.
func (d *debugServer) say(cmd *cobra.Command) error {
	if d == nil {
		return nil
	}
	return printf(cmd, "profiles are at http://%s/debug/pprof/\n", d.listener.Addr())
}

// stop ends the server, and profiles that are being taken.
func (d *debugServer) stop() {
	if d == nil {
		return
	}
	_ = d.http.Close() // its connections are cut either way
	<-d.ended
}
