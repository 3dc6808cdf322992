package main

import (
	"net/http"

	"github.com/spf13/cobra"
)

func newDelete() *cobra.Command {
	var q request
	cmd := &cobra.Command{
		Use:   "delete KEY",
		Short: "Delete a key",
		Long: `Delete whatever is stored under a key. With --context, delete exactly what that
context has seen: a value that was written since stays.

Deleting a key that does not exist is no error.`,
		Example: `  dynamo delete greeting`,
		Args:    arguments(1, 1),
	}
	q.register(cmd, "print the context that covers the delete, as JSON")
	q.registerWrite(cmd, "delete what this context has seen, and nothing else")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return q.write(cmd, http.MethodDelete, args[0], nil)
	}
	return cmd
}
