package main

import (
	"net/http"
	"net/http/httptest"
)

// newStranger is a web server that is no node.
func newStranger() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "<h1>not here</h1>", http.StatusNotFound)
	}))
}
