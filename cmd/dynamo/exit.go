package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The exit codes. They are part of the interface: scripts go by them.
const (
	exitOK          = 0
	exitNotFound    = 1
	exitDamaged     = 1
	exitUsage       = 2
	exitSiblings    = 3
	exitNotDone     = 4
	exitUnknown     = 5
	exitUnreachable = 6
	exitNode        = 7
)

const exitCodes = `  0  Done.
  1  get: the key is not found. doctor: something is damaged.
  2  The command or the request is wrong: a flag, a configuration, a key, a
     context, a value that is too large. doctor: the directory cannot be
     checked.
  3  get: the key has several siblings. They are on standard output as JSON.
  4  Not done: too few replicas, an overloaded node, too many siblings, no room
     left, an interrupt. A write was not stored and may be repeated. migrate:
     the data is where it was.
  5  Not known whether a write was stored: read the key before repeating it.
  6  No node answers at the address.
  7  serve, dev, bench: a node could not start, or had to stop.`

// exitError is an error with the exit code that belongs to it.
type exitError struct {
	code int
	hint string // a line of its own that says what to do; may be empty
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }

func (e *exitError) Unwrap() error { return e.err }

func exitf(code int, format string, args ...any) error {
	return &exitError{code: code, err: fmt.Errorf(format, args...)}
}

func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &exitError{
		code: exitUsage, err: fmt.Errorf(format, args...),
		hint: fmt.Sprintf("Run '%s --help' for its use.", cmd.CommandPath()),
	}
}

// flagError is an error of the command line's flags.
func flagError(cmd *cobra.Command, err error) error {
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return usagef(cmd, "%v", badValue(invalid.GetFlag(), invalid.GetValue()))
	}
	return usagef(cmd, "%v", err)
}

// badValue is the error of a text that a flag, or the setting of its name, does
// not take.
func badValue(f *pflag.Flag, text string) error {
	allowed := "another kind of value is"
	switch f.Value.Type() {
	case "bool":
		allowed = "true and false are"
	case "duration", "durationSlice":
		allowed = "a time with its unit, as in 300ms, 2s or 1m, is"
	case "int", "int64":
		allowed = "a whole number is"
	case "uint32", "uint64":
		allowed = "a whole number from 0 on is"
	case "float64":
		allowed = "a number is"
	}
	return fmt.Errorf("%s is %q; %s allowed", f.Name, text, allowed)
}

// arguments refuses a command line with fewer or more arguments than allowed.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) > most && most == 0:
			return usagef(cmd, "%s takes no arguments, and %q was given", cmd.Name(), args[0])
		case len(args) > most:
			return usagef(cmd, "there are %d arguments and at most %d are taken; quote those with spaces: %s", len(args), most, cmd.Use)
		case len(args) < least:
			return usagef(cmd, "an argument is missing: %s", cmd.Use)
		}
		return nil
	}
}

// report prints err for people and returns the exit code.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	code, hint := exitUsage, "Run 'dynamo --help' for the commands." // without a code it is cobra's, about the command line
	if e, ok := errors.AsType[*exitError](err); ok {
		code, hint = e.code, e.hint
	}
	text := "dynamo: " + strings.TrimPrefix(err.Error(), "dynamo: ") + "\n" // which the library's errors begin with too
	if hint != "" {
		text += hint + "\n"
	}
	if _, err := io.WriteString(stderr, text); err != nil {
		return code // nobody reads what is wrong; the code still says it
	}
	return code
}

func newExitCodes() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "The exit codes of all commands",
		Long:  "The exit codes of all commands:\n\n" + exitCodes,
	}
}
