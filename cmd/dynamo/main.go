package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run()) }

// run carries out the command line and returns the exit code. The first
// interrupt or termination ends ctx, so that the command ends in order; the
// second finds the signal's usual effect and ends the process at once.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	cmd := newRoot()
	return report(os.Stderr, cmd.ExecuteContext(ctx))
}

// endAtOnce has the first interrupt or termination end the process.
func endAtOnce() { signal.Reset(os.Interrupt, syscall.SIGTERM) }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "dynamo",
		Short: "A leaderless, always-writable, replicated key-value database",
		Long: `Dynamo keeps keys on several nodes at once, takes writes as long as enough
nodes can be reached, and never loses one that it has acknowledged.

Begin with a cluster on this machine:

  dynamo dev`,
		SilenceErrors: true, // report prints them, with the exit code that belongs to them
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(flagError)
	root.SetUsageFunc(showUsage)
	root.SetHelpCommand(newHelp())
	root.AddCommand(newServe(), newDev(), newPut(), newGet(), newDelete(), newStatus(), newExplain(), newBench(), newDoctor(), newMigrate(), newVersion(), newExitCodes())
	root.InitDefaultCompletionCmd()
	refuseUnknownShells(root)
	return root
}
