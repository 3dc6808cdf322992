package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

func newGet() *cobra.Command {
	var q request
	var repair string
	cmd := &cobra.Command{
		Use:   "get KEY",
		Short: "Print the value of a key",
		Long: `Print the value of a key, byte for byte; on a terminal with a line break after
it if it has none.

A key that was written by clients that had not seen each other's writes has
several values, its siblings. They are printed as JSON, as with --json, and the
exit code is 3; 'dynamo put' with the context that is printed there replaces
them by one. A key that is not found is exit code 1.`,
		Example: `  dynamo get greeting
  dynamo get greeting --json | jq -r '.siblings[].data | @base64d'`,
		Args: arguments(1, 1),
	}
	q.register(cmd, `print {"context","siblings":[{"data","timestamp"}]}, the data in base64`)
	cmd.Flags().IntVar(&q.r, "r", 0, "replicas that must answer (as the node is configured)")
	cmd.Flags().StringVar(&repair, "repair", "", "when owners that are behind are repaired: background, or blocking for reads that never go back (background)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		query := url.Values{}
		if cmd.Flags().Changed("repair") {
			query.Set("repair", repair)
		}
		return q.get(cmd, args[0], query)
	}
	return cmd
}

func (q *request) get(cmd *cobra.Command, key string, query url.Values) error {
	a, failure := q.send(cmd, http.MethodGet, key, query, nil)
	var e *exitError
	missing := errors.As(failure, &e) && e.code == exitNotFound
	if missing {
		e.err = fmt.Errorf("the key %q is not found", key)
	}
	if failure != nil && (!missing || !q.json) {
		return failure
	}
	f, err := foundIn(a)
	if err != nil {
		return err
	}
	if q.json || len(f.Siblings) > 1 {
		if err := printJSON(cmd, f); err != nil {
			return err
		}
	}
	switch {
	case missing:
		return failure
	case len(f.Siblings) > 1:
		return siblingsError(key, len(f.Siblings))
	case q.json:
		return nil
	}
	return printValue(cmd, a.body)
}

func siblingsError(key string, n int) error {
	name := "KEY"
	if oneLine(key) {
		name = key
	}
	return &exitError{
		code: exitSiblings, err: fmt.Errorf("the key %q has %d siblings, written without having seen each other", key, n),
		hint: fmt.Sprintf("To replace them by one value: dynamo put %s VALUE --context CONTEXT, with the context that is printed.", name),
	}
}

// printValue prints a value as it is, and on a terminal so that the prompt
// stands on a line of its own.
func printValue(cmd *cobra.Command, value []byte) error {
	if isTerminal(cmd.OutOrStdout()) && len(value) > 0 && !bytes.HasSuffix(value, []byte("\n")) {
		value = append(value, '\n')
	}
	return write(cmd, value)
}
