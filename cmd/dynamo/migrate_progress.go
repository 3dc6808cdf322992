package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dynamo-kv/dynamo/internal/migrate"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

const (
	// barPause is how often the bar of a migration is drawn anew, and linePause
	// how often there is a line where it is not drawn.
	barPause  = 100 * time.Millisecond
	linePause = 5 * time.Second
	// barCells is the length of the bar, so that all of it fits into a line of 120.
	barCells = 24
)

// migrationProgress tells how far a migration is: a bar on a terminal, lines
// elsewhere.
type migrationProgress struct {
	w       io.Writer
	bar     bool
	now     func() time.Time
	phase   migrate.Phase
	begun   time.Time // the phase
	said    time.Time
	pending bool // a bar stands in the line
}

func newMigrationProgress(w io.Writer) *migrationProgress {
	return &migrationProgress{w: w, bar: isTerminal(w), now: time.Now}
}

// tell is called with the progress, often.
func (p *migrationProgress) tell(q migrate.Progress) {
	now := p.now()
	if p.begun.IsZero() || q.Phase != p.phase {
		p.end()
		p.phase, p.begun, p.said = q.Phase, now, now
		return
	}
	pause, last := linePause, q.TotalKeys > 0 && q.Keys == q.TotalKeys
	if p.bar {
		pause = barPause
	}
	if now.Sub(p.said) < pause && !last {
		return
	}
	p.said = now
	text := copiedText(q, now.Sub(p.begun))
	if !p.bar {
		p.say(text + "\n")
		return
	}
	p.say("\r" + drawn(q) + text + "\x1b[K") // over the last one, and nothing after it
	p.pending = true
}

// end ends the line that a bar stands in.
func (p *migrationProgress) end() {
	if p.pending {
		p.say("\n")
	}
	p.pending = false
}

func (p *migrationProgress) say(text string) { _, _ = io.WriteString(p.w, text) } // where nobody reads it, the work goes on

// drawn is the bar, nothing where the end is not known.
func drawn(q migrate.Progress) string {
	if q.TotalBytes == 0 {
		return ""
	}
	cells := int(float64(barCells) * share(q))
	return "[" + strings.Repeat("#", cells) + strings.Repeat(".", barCells-cells) + "] "
}

func share(q migrate.Progress) float64 {
	return min(1, float64(q.Bytes)/float64(max(1, q.TotalBytes)))
}

// copiedText says how far a phase has come in the time that it has taken.
func copiedText(q migrate.Progress, took time.Duration) string {
	rate := float64(q.Bytes) / max(took.Seconds(), 1e-3)
	if q.TotalKeys == 0 {
		return fmt.Sprintf("%v: %s, %d keys, %s/s", q.Phase, storage.Size(q.Bytes), q.Keys, storage.Size(uint64(rate)))
	}
	left := "?"
	if rate > 0 {
		rest := float64(q.TotalBytes-min(q.Bytes, q.TotalBytes)) / rate
		left = time.Duration(rest * float64(time.Second)).Round(time.Second).String()
	}
	return fmt.Sprintf("%v: %.0f %%, %s of %s, %d of %d keys, %s/s, %s left",
		q.Phase, 100*share(q), storage.Size(q.Bytes), storage.Size(q.TotalBytes), q.Keys, q.TotalKeys, storage.Size(uint64(rate)), left)
}
