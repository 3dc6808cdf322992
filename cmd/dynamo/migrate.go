package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dynamo-kv/dynamo/internal/migrate"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/engines"
)

// migration is what the flags of dynamo migrate say.
type migration struct {
	from, to    string
	keep, abort bool
	log         logging
}

func newMigrate() *cobra.Command {
	var m migration
	cmd := &cobra.Command{
		Use:   "migrate DIR --to ENGINE [--from ENGINE] [--keep] | DIR --abort",
		Short: "Move a stopped node's data to another storage engine",
		Long: `Move the data of a stopped node to another storage engine: pebble, lss, bolt or
badger. DIR is the node's data directory. The node stays who it is: all that its
engine holds is copied byte for byte, and it goes on where it was stopped, with
the new engine in its settings.

The copy is made beside the old engine's files, so there must be room for both.
It is then compared with them, every byte, before one step makes it the node's
data and the old files are removed; --keep keeps them under another name in DIR.

If it is interrupted, by Ctrl-C, a crash or a full disk, the node's data is
where it was: run the same command again, which goes on with what is left, or
give the copy up with --abort. A node that is started meanwhile goes on with the
old engine, and nothing that it writes is lost: the next run copies what has
changed.

Run it as the user that the node runs as, since the new files are that user's.`,
		Example: `  dynamo migrate /var/lib/dynamo --from lss --to pebble
  dynamo migrate dynamo-data/n1 --to bolt --keep
  dynamo migrate dynamo-data/n1 --abort`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return m.run(cmd, args[0]) },
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&m.to, "to", "", "the engine that takes over")
	cmd.Flags().StringVar(&m.from, "from", "", "the engine that the directory must belong to; without it, whichever it is")
	cmd.Flags().BoolVar(&m.keep, "keep", false, "keep the old engine's files, as aside-INSTANCE-ENGINE-migrated in DIR")
	cmd.Flags().BoolVar(&m.abort, "abort", false, "give a half-done migration up, and remove its copy")
	m.log.register(cmd)
	return cmd
}

func (m *migration) run(cmd *cobra.Command, dir string) error {
	logger, err := m.log.logger(cmd)
	if err != nil {
		return err
	}
	o := migrate.Options{Dir: dir, From: m.from, To: m.to, Keep: m.keep, Logger: logger}
	switch {
	case m.abort && (m.from != "" || m.to != "" || m.keep):
		return usagef(cmd, "--abort gives up whichever migration is half done; it takes no other flag")
	case m.abort:
		return m.giveUp(cmd, o)
	case m.to == "":
		return usagef(cmd, "say which engine takes over with --to, such as --to pebble")
	}
	progress := newProgress(cmd.ErrOrStderr())
	o.Progress = progress.ofMigration
	result, err := migrate.Run(cmd.Context(), o, engines.Drivers()...)
	progress.end()
	if err != nil {
		return migrationError(err)
	}
	return printf(cmd, "%s", migrationReport(result))
}

func (m *migration) giveUp(cmd *cobra.Command, o migrate.Options) error {
	was, err := migrate.Abort(o, engines.Drivers()...)
	if err != nil {
		return migrationError(err)
	}
	return printf(cmd, "The migration to %s is given up, and its copy is removed. The data is with %s, as before.\n", was.To, was.From)
}

// migrationError gives an error of a migration its exit code and a hint.
func migrationError(err error) error {
	e := &exitError{code: exitNotDone, err: err}
	switch {
	case errors.Is(err, migrate.ErrInvalid):
		e.code = exitUsage
	case errors.Is(err, context.Canceled):
		e.err = errors.New("interrupted; the node's data is with its old engine, as before")
		e.hint = "Run the same again to go on from here, or 'dynamo migrate DIR --abort' to give the copy up."
	case errors.Is(err, storage.ErrInUse):
		e.hint = "A migration is of a node that is stopped."
	}
	return e
}

// report says what was done and what to do next.
func migrationReport(r migrate.Result) string {
	node, engine := r.Identity.Node, r.Identity.Engine
	next := fmt.Sprintf("Start the node with --engine %s.\n", engine)
	switch {
	case r.Nothing:
		return fmt.Sprintf("The data of node %s is with %s already; there is nothing to do.\n", node, engine)
	case r.Hash == "":
		return fmt.Sprintf("The data of node %s had moved to %s before an interruption; what was left to do is done.\n%s", node, engine, next)
	}
	text := fmt.Sprintf("The data of node %s has moved from %s to %s: %d keys, %s, SHA-256 %s, compared byte by byte.\n",
		node, r.From, engine, r.Keys, storage.Size(r.Bytes), r.Hash)
	if r.Kept != "" {
		text += fmt.Sprintf("The files of %s are kept in %s; remove them when you do not want them any more.\n", r.From, r.Kept)
	}
	return text + next
}
