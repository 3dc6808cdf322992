package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dynamo-kv/dynamo/internal/bench"
	"github.com/dynamo-kv/dynamo/internal/doctor"
	"github.com/dynamo-kv/dynamo/internal/migrate"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

const (
	// barPause is how often the bar is drawn anew at most, and linePause how
	// often there is a line where it is not drawn.
	barPause  = 100 * time.Millisecond
	linePause = 5 * time.Second
	// barCells is the length of the bar, so that all of it fits into a line of 120.
	barCells = 24
)

// progress tells how far the work of a command has come: on a terminal in one
// line that is drawn anew, with a bar where the end is known, and that is gone
// when the work is done; elsewhere in a line each time. The work is done in
// parts, which are said to be begun and then how far they are.
type progress struct {
	w       io.Writer
	bar     bool
	off     bool
	now     func() time.Time
	part    string
	begun   time.Time // the part
	said    time.Time // that, or something of it
	pending bool      // a bar stands in the line
}

// newProgress returns what tells on a stream: by a bar on a terminal, by lines
// elsewhere.
func newProgress(w io.Writer) *progress {
	return &progress{w: w, bar: isTerminal(w), now: time.Now}
}

// flaggedProgress returns what tells on a stream as a flag wants it: auto (by a
// bar, on a terminal only), lines or off.
func flaggedProgress(w io.Writer, how string) *progress {
	p := newProgress(w)
	p.off = how == "off" || how == "auto" && !p.bar
	p.bar = p.bar && how != "lines"
	return p
}

// begin begins a part.
func (p *progress) begin(part string) {
	p.part, p.begun = part, p.now()
	p.said = p.begun
	if p.bar {
		p.show(0, part) // it may take a while until there is more to say
	}
}

// due says whether it is time to say something again.
func (p *progress) due() bool {
	pause := linePause
	if p.bar {
		pause = barPause
	}
	return p.now().Sub(p.said) >= pause
}

// show says a line now. On a terminal the bar shows which share of the part is
// done; at zero there is none.
func (p *progress) show(share float64, text string) {
	switch p.said = p.now(); {
	case p.off:
	case p.bar:
		// Over the last one, and nothing after it. What does not fit is cut off: a
		// line that went on in the next one could not be drawn over.
		p.write("\r\x1b[?7l" + drawn(share) + text + "\x1b[K\x1b[?7h")
		p.pending = true
	default:
		p.write(text + "\n")
	}
}

// end takes the bar away.
func (p *progress) end() {
	if p.pending {
		p.write("\r\x1b[K")
	}
	p.pending = false
}

func (p *progress) write(text string) { _, _ = io.WriteString(p.w, text) } // where nobody reads it, the work goes on

// drawn is the bar, nothing at zero.
func drawn(share float64) string {
	if share <= 0 {
		return ""
	}
	cells := int(barCells * min(1, share))
	return "[" + strings.Repeat("#", cells) + strings.Repeat(".", barCells-cells) + "] "
}

// shareOf returns how much of a whole is done, zero where that is not known.
func shareOf[N uint64 | int64 | time.Duration](done, whole N) float64 {
	if whole <= 0 {
		return 0
	}
	return min(1, float64(done)/float64(whole))
}

// ofLoad returns what tells of a phase of dynamo bench, which is each second;
// nil where nobody is told.
func (p *progress) ofLoad(phase string) func(bench.Progress) {
	if p.off {
		return nil
	}
	p.begin(phase)
	return func(q bench.Progress) {
		share, far := shareOf(q.Elapsed, q.Duration), fmt.Sprintf("%v of %v", q.Elapsed.Round(time.Second), q.Duration)
		if q.Total > 0 {
			share, far = shareOf(q.Done, q.Total), fmt.Sprintf("%d of %d", q.Done, q.Total)
		}
		p.show(share, fmt.Sprintf("%s: %s, %.0f operations/s, p50 %.2f ms, p99 %.2f ms, %d errors",
			phase, far, q.Last.Rate, q.Last.P50, q.Last.P99, q.Last.Errors))
	}
}

// ofCheck is told, often, how far the check of a directory is.
func (p *progress) ofCheck(q doctor.Progress) {
	if !p.due() {
		return
	}
	text := p.part
	if q.TotalBytes > 0 {
		text += fmt.Sprintf(": %s of %s", storage.Size(uint64(q.Bytes)), storage.Size(uint64(q.TotalBytes)))
	}
	if q.Records > 0 {
		text += fmt.Sprintf(", %d records", q.Records)
	}
	p.show(shareOf(q.Bytes, q.TotalBytes), text)
}

// ofMigration is told, often, how far a migration is, and at the beginning and
// the end of each phase.
func (p *progress) ofMigration(q migrate.Progress) {
	phase := q.Phase.String()
	if p.part != phase {
		p.begin(phase)
		return
	}
	if last := q.TotalKeys > 0 && q.Keys == q.TotalKeys; last || p.due() {
		p.show(shareOf(q.Bytes, q.TotalBytes), copiedText(q, p.now().Sub(p.begun)))
	}
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
		q.Phase, 100*shareOf(q.Bytes, q.TotalBytes), storage.Size(q.Bytes), storage.Size(q.TotalBytes), q.Keys, q.TotalKeys, storage.Size(uint64(rate)), left)
}
