package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/lmittmann/tint"
	"github.com/spf13/cobra"
)

// isTerminal says whether a stream of a command is a terminal, as far as its
// kind of file tells.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// colours says whether a stream gets colours: a terminal does, unless
// NO_COLOR is set (https://no-color.org).
func colours(w io.Writer) bool { return isTerminal(w) && os.Getenv("NO_COLOR") == "" }

// logging is how a command logs, as its flags say.
type logging struct{ level, format string }

func (l *logging) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&l.level, "log-level", "warn", "what is logged to standard error: debug, info, warn or error")
	cmd.Flags().StringVar(&l.format, "log-format", "auto", "how it is logged: text, json, or auto, coloured text on a terminal")
}

// logger returns the logger, or an error that names what is allowed.
func (l *logging) logger(cmd *cobra.Command) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.level)); err != nil || strings.ContainsAny(l.level, "+-") {
		return nil, usagef(cmd, "log-level is %q; debug, info, warn and error are allowed", l.level)
	}
	w := cmd.ErrOrStderr()
	switch {
	case l.format == "json":
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: withUnit})), nil
	case l.format == "auto" && isTerminal(w):
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, NoColor: !colours(w)})), nil
	case l.format == "auto" || l.format == "text":
		return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})), nil
	}
	return nil, usagef(cmd, "log-format is %q; auto, text and json are allowed", l.format)
}

// withUnit has durations in JSON as they are in text, which would be bare numbers
// there.
func withUnit(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// printf prints to a command's standard output.
func printf(cmd *cobra.Command, format string, args ...any) error {
	return write(cmd, fmt.Appendf(nil, format, args...))
}

// write prints bytes to a command's standard output.
func write(cmd *cobra.Command, b []byte) error {
	if _, err := cmd.OutOrStdout().Write(b); err != nil {
		return exitf(exitUsage, "standard output: %w", err)
	}
	return nil
}
