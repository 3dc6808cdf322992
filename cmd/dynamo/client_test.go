package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// sent runs a put of a key against a server that answers as told, and returns
// the path that it saw, and the command's exit code.
func sent(t *testing.T, key string, status int, body string) (path string, code int) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path = r.RequestURI
		w.WriteHeader(status)
		if _, err := io.WriteString(w, body); err != nil {
			t.Error(err)
		}
	}))
	defer srv.Close()
	var q request
	cmd := &cobra.Command{Use: "put"}
	q.register(cmd, "")
	q.addr = strings.TrimPrefix(srv.URL, "http://")
	cmd.SetContext(t.Context())
	cmd.SetOut(io.Discard)
	return path, report(io.Discard, q.write(cmd, http.MethodPut, key, []byte("v")))
}

func TestKeysAsPaths(t *testing.T) {
	for key, want := range map[string]string{
		"cart":      "/v1/kv/cart",
		"a/b":       "/v1/kv/a%2Fb",
		"../..":     "/v1/kv/..%2F..",
		"..":        "/v1/kv/..",
		"a b?c#d":   "/v1/kv/a%20b%3Fc%23d",
		"\x00\xff":  "/v1/kv/%00%FF",
		"100%":      "/v1/kv/100%25",
		"//":        "/v1/kv/%2F%2F",
		"a+b;c=d&e": "/v1/kv/a+b%3Bc=d&e",
	} {
		got, code := sent(t, key, http.StatusNoContent, "")
		if got != want+"?overwrite=true" || code != exitOK {
			t.Errorf("the key %q is sent to %s (exit code %d), want %s", key, got, code, want)
		}
	}
}

func TestExitCodesOfAnswers(t *testing.T) {
	answer := func(code, outcome string) string {
		return `{"error":{"code":"` + code + `","message":"m","outcome":"` + outcome + `"}}`
	}
	tests := []struct {
		status int
		body   string
		code   int
	}{
		{204, "", exitOK},
		{400, answer("invalid_request", "not_written"), exitUsage},
		{400, answer("invalid_context", "not_written"), exitUsage},
		{413, answer("too_large", "not_written"), exitUsage},
		{409, answer("too_many_siblings", "not_written"), exitNotDone},
		{503, answer("overloaded", "not_written"), exitNotDone},
		{503, answer("quorum", "not_written"), exitNotDone},
		{507, answer("storage_full", "not_written"), exitNotDone},
		{507, answer("storage_full", "unknown"), exitUnknown},
		{503, answer("quorum", "unknown"), exitUnknown},
		{504, answer("timeout", "unknown"), exitUnknown},
		{404, answer("not_found", ""), exitNotFound},
		{404, "<html>", exitUnreachable},
		{502, `{"message":"bad gateway"}`, exitUnreachable},
	}
	for _, test := range tests {
		if _, code := sent(t, "k", test.status, test.body); code != test.code {
			t.Errorf("%d %s: exit code %d, want %d", test.status, test.body, code, test.code)
		}
	}
}

// A write whose answer is lost may have been stored.
func TestLostAnswer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler) // closes the connection
	}))
	defer srv.Close()
	q := request{addr: strings.TrimPrefix(srv.URL, "http://")}
	for method, want := range map[string]int{http.MethodPut: exitUnknown, http.MethodGet: exitUnreachable} {
		_, err := q.do(context.Background(), method, keyURL(q.addr, "k", url.Values{}), nil)
		var e *exitError
		if !errors.As(err, &e) || e.code != want {
			t.Errorf("%s: %v, want the exit code %d", method, err, want)
		}
	}
}
