package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	// helpWidth is how long a line of help is at most: what every terminal has.
	helpWidth = 80
	// helpColumn is where the meanings of flags begin at most; a longer flag has
	// a line to itself.
	helpColumn = 28
)

// showUsage prints what cobra prints below the description of a command, in
// lines that fit.
func showUsage(cmd *cobra.Command) error {
	var b strings.Builder
	b.WriteString("Usage:\n")
	if cmd.Runnable() {
		fmt.Fprintf(&b, "  %s\n", cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "  %s COMMAND\n", cmd.CommandPath())
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	helpCommands(&b, cmd)
	if cmd.HasAvailableFlags() {
		b.WriteString("\nFlags:\n")
		helpFlags(&b, cmd.Flags())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n'%s COMMAND --help' describes a command.\n", cmd.CommandPath())
	}
	b.WriteString("\n'dynamo exit-codes' says what exit codes mean.\n")
	_, err := io.WriteString(cmd.OutOrStderr(), b.String())
	return err
}

// helpCommands lists the commands below another one.
func helpCommands(b *strings.Builder, cmd *cobra.Command) {
	shown := slices.DeleteFunc(slices.Clone(cmd.Commands()), func(c *cobra.Command) bool {
		return !c.IsAvailableCommand() && !c.IsAdditionalHelpTopicCommand() && c.Name() != "help"
	})
	for i, c := range shown {
		if i == 0 {
			b.WriteString("\nCommands:\n")
		}
		fmt.Fprintf(b, "  %-*s  %s\n", cmd.Commands()[0].NamePadding(), c.Name(), c.Short)
	}
}

// helpFlags lists flags with what they take, what they mean and their defaults.
func helpFlags(b *strings.Builder, flags *pflag.FlagSet) {
	column := 0
	flags.VisitAll(func(f *pflag.Flag) {
		if n := len(flagText(f)) + 2; !f.Hidden && n <= helpColumn {
			column = max(column, n)
		}
	})
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		name, rest := flagText(f), meaning(f)
		if len(name)+2 > column {
			fmt.Fprintf(b, "%s\n", name)
			name = ""
		}
		for line := range strings.SplitSeq(wrapped(rest, helpWidth-column), "\n") {
			fmt.Fprintf(b, "%-*s%s\n", column, name, line)
			name = ""
		}
	})
}

// flagText is a flag as it is given, with the kind of its value.
func flagText(f *pflag.Flag) string {
	text := "  --" + f.Name
	if f.Shorthand != "" {
		text = "  -" + f.Shorthand + ", --" + f.Name
	}
	switch kind := f.Value.Type(); kind {
	case "bool":
	case "stringSlice", "durationSlice":
		text += " list"
	case "uint32", "uint64", "int64":
		text += " int"
	case "float64":
		text += " number"
	default:
		text += " " + kind
	}
	return text
}

// meaning is what a flag means, with its default unless that is none.
func meaning(f *pflag.Flag) string {
	if slices.Contains([]string{"", "0", "0s", "false", "[]"}, f.DefValue) {
		return f.Usage
	}
	value := f.DefValue
	if _, list := f.Value.(pflag.SliceValue); list {
		value = strings.ReplaceAll(value[1:len(value)-1], ",", ", ")
	}
	return fmt.Sprintf("%s (default %s)", f.Usage, value)
}

// wrapped breaks a text into lines of at most so many bytes, where words allow.
func wrapped(text string, width int) string {
	var b strings.Builder
	at := 0
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case at+1+len(word) > width:
			b.WriteByte('\n')
			at = 0
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += len(word)
	}
	return b.String()
}

// refuseUnknownShells has cobra's own command refuse what it would pass over.
func refuseUnknownShells(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.Args = arguments(0, 0)
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
}

func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Describe a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 && found.HasSubCommands() {
				return usagef(cmd.Root(), "there is no command %q", strings.Join(args, " "))
			}
			return found.Help()
		},
	}
}
