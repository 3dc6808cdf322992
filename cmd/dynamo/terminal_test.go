package main

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// TestDurationsInLogs: they have their unit in each format.
func TestDurationsInLogs(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		var out strings.Builder
		cmd := &cobra.Command{}
		cmd.SetErr(&out)
		logger, err := (&logging{level: "info", format: format}).logger(cmd)
		if err != nil {
			t.Fatal(err)
		}
		logger.Info("a request has ended", "took", 1500*time.Microsecond)
		if !strings.Contains(out.String(), "1.5ms") {
			t.Errorf("%s: %s", format, out.String())
		}
	}
}
