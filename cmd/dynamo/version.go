package main

import (
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dynamo-kv/dynamo/internal/metrics"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printf(cmd, "dynamo %s, %s, %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}

// version returns the module's version, with the commit where the build knows
// it and the version does not say it.
func version() string {
	b := metrics.ReadBuild()
	if commit := b.Revision[:min(12, len(b.Revision))]; !strings.Contains(b.Version, commit) {
		return b.Version + " " + commit
	}
	return b.Version
}
