package main

import (
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/spf13/cobra"
)

// maxStdin bounds what is read as a value: a byte more than any node takes,
// so that the node says what is too large.
const maxStdin = 16<<20 + 1

func newPut() *cobra.Command {
	var q request
	var file string
	cmd := &cobra.Command{
		Use:   "put KEY [VALUE|-]",
		Short: "Store a value under a key",
		Long: `Store a value under a key. Without VALUE, or with -, the value is what comes on
standard input; with --file it is what the file holds.

The value replaces whatever is stored. With --context it replaces exactly what
that context has seen: the way to resolve siblings that 'dynamo get' has shown.`,
		Example: `  dynamo put greeting hello
  date | dynamo put now -
  context=$(dynamo get greeting --json | jq -r .context)
  dynamo put greeting hi --context "$context"`,
		Args: arguments(1, 2),
	}
	q.register(cmd, "print the context that covers the new value, as JSON")
	q.registerWrite(cmd, "replace what this context has seen, and nothing else")
	cmd.Flags().StringVar(&file, "file", "", "read the value from this file")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		value, err := valueFrom(cmd, args[1:], file)
		if err != nil {
			return err
		}
		return q.write(cmd, http.MethodPut, args[0], value)
	}
	return cmd
}

// valueFrom returns the value that a put was given.
func valueFrom(cmd *cobra.Command, args []string, file string) ([]byte, error) {
	switch {
	case file != "" && len(args) > 0:
		return nil, usagef(cmd, "a value and --file were given; give one of them")
	case file != "":
		return readValueFile(cmd, file)
	case len(args) > 0 && args[0] != "-":
		return []byte(args[0]), nil
	}
	return readInput(cmd)
}

// readInput reads the value from standard input, or until the command is
// interrupted. A read that waits for a terminal ends with the process then.
func readInput(cmd *cobra.Command) ([]byte, error) {
	type input struct {
		value []byte
		err   error
	}
	read := make(chan input, 1)
	go func() {
		value, err := readValue(cmd.InOrStdin())
		read <- input{value, err}
	}()
	select {
	case in := <-read:
		if in.err != nil {
			return nil, usagef(cmd, "standard input: %v", in.err)
		}
		return in.value, nil
	case <-cmd.Context().Done():
		return nil, exitf(exitNotDone, "interrupted; nothing was stored")
	}
}

func readValueFile(cmd *cobra.Command, path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, usagef(cmd, "%v", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	value, err := readValue(f)
	if err != nil {
		return nil, usagef(cmd, "%v", err)
	}
	return value, nil
}

func readValue(r io.Reader) ([]byte, error) {
	value, err := io.ReadAll(io.LimitReader(r, maxStdin))
	if err != nil {
		return nil, fmt.Errorf("the value cannot be read: %w", err)
	}
	return value, nil
}
