package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestDebugServer(t *testing.T) {
	cmd := &cobra.Command{Use: "serve"}
	cmd.SetContext(t.Context())
	d, err := listenDebug(cmd, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer d.stop()
	var out strings.Builder
	cmd.SetOut(&out)
	if err := d.say(cmd); err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSuffix(strings.TrimPrefix(out.String(), "profiles are at "), "\n")
	ask := func(host, path string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			r.Host = host
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if status, body := ask("", "goroutine?debug=1"); status != http.StatusOK || !strings.Contains(body, "goroutine profile: total") {
		t.Errorf("status %d: %s", status, body)
	}
	if status, body := ask("", ""); status != http.StatusOK || !strings.Contains(body, "heap") {
		t.Errorf("the list: status %d: %s", status, body)
	}
	if status, _ := ask("attacker.example:80", "heap"); status != http.StatusForbidden {
		t.Errorf("a page of the web gets status %d", status)
	}
}

func TestDebugServerIsForThisMachine(t *testing.T) {
	cmd := &cobra.Command{Use: "serve"}
	cmd.SetContext(t.Context())
	for _, addr := range []string{"0.0.0.0:0", ":6060", "db1.example:6060", "6060"} {
		if _, err := listenDebug(cmd, addr); err == nil || !strings.Contains(err.Error(), "loopback") {
			t.Errorf("%s: %v", addr, err)
		}
	}
	d, err := listenDebug(cmd, "")
	if d != nil || err != nil {
		t.Errorf("off is %v, %v", d, err)
	}
	if err := d.say(cmd); err != nil {
		t.Error(err)
	}
	d.stop()
}
