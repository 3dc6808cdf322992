package main

import (
	"strings"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/bench"
	"github.com/dynamo-kv/dynamo/internal/doctor"
	"github.com/dynamo-kv/dynamo/internal/migrate"
)

// toldBy returns what a progress says, as a bar or in lines, of work that takes
// its time by pass.
func toldBy(bar bool, work func(p *progress, pass func(time.Duration))) string {
	var out strings.Builder
	now := time.Unix(1000, 0)
	p := newProgress(&out)
	p.bar, p.now = bar, func() time.Time { return now }
	work(p, func(d time.Duration) { now = now.Add(d) })
	p.end()
	return out.String()
}

// ofMigration plays a migration of 4 GiB in 4000 keys, a third of a second for
// each tenth of a GiB.
func ofMigration(p *progress, pass func(time.Duration)) {
	for _, phase := range []migrate.Phase{migrate.Counting, migrate.Copying} {
		for i := range uint64(41) {
			q := migrate.Progress{Phase: phase, Keys: 100 * i, Bytes: i << 30 / 10}
			if phase != migrate.Counting {
				q.TotalKeys, q.TotalBytes = 4000, 4<<30
			}
			p.ofMigration(q)
			pass(300 * time.Millisecond)
		}
	}
}

// ofCheck plays a check of 4 GiB, of which the records are told at the end.
func ofCheck(p *progress, pass func(time.Duration)) {
	p.begin("checking")
	for i := range int64(41) {
		q := doctor.Progress{Bytes: i << 30 / 10, TotalBytes: 4 << 30}
		if i >= 30 {
			q.Records = uint64(i)
		}
		p.ofCheck(q)
		pass(300 * time.Millisecond)
	}
}

// ofLoad plays a load of three keys and a run of three seconds.
func ofLoad(p *progress, _ func(time.Duration)) {
	load, last := p.ofLoad("load"), bench.Point{Rate: 1000, P50: 1.5, P99: 12, Errors: 1}
	for i := range uint64(3) {
		load(bench.Progress{Done: i + 1, Total: 3, Last: last})
	}
	run := p.ofLoad("run")
	for i := range time.Duration(3) {
		run(bench.Progress{Elapsed: (i + 1) * time.Second, Duration: 3 * time.Second, Last: last})
	}
}

// TestProgressLines: where there is no terminal, a line now and then, or each
// time for a load, and one at the end of a phase of a migration.
func TestProgressLines(t *testing.T) {
	for name, test := range map[string]struct {
		work func(*progress, func(time.Duration))
		want string
	}{
		"migration": {ofMigration, `counting: 1.7 GiB, 1700 keys, 341.3 MiB/s
counting: 3.4 GiB, 3400 keys, 341.3 MiB/s
copying: 42 %, 1.7 GiB of 4.0 GiB, 1700 of 4000 keys, 341.3 MiB/s, 7s left
copying: 85 %, 3.4 GiB of 4.0 GiB, 3400 of 4000 keys, 341.3 MiB/s, 2s left
copying: 100 %, 4.0 GiB of 4.0 GiB, 4000 of 4000 keys, 341.3 MiB/s, 0s left
`},
		"check": {ofCheck, `checking: 1.7 GiB of 4.0 GiB
checking: 3.4 GiB of 4.0 GiB, 34 records
`},
		"load": {ofLoad, `load: 1 of 3, 1000 operations/s, p50 1.50 ms, p99 12.00 ms, 1 errors
load: 2 of 3, 1000 operations/s, p50 1.50 ms, p99 12.00 ms, 1 errors
load: 3 of 3, 1000 operations/s, p50 1.50 ms, p99 12.00 ms, 1 errors
run: 1s of 3s, 1000 operations/s, p50 1.50 ms, p99 12.00 ms, 1 errors
run: 2s of 3s, 1000 operations/s, p50 1.50 ms, p99 12.00 ms, 1 errors
run: 3s of 3s, 1000 operations/s, p50 1.50 ms, p99 12.00 ms, 1 errors
`},
	} {
		if got := toldBy(false, test.work); got != test.want {
			t.Errorf("%s: it says\n%s\nwant\n%s", name, got, test.want)
		}
	}
}

// TestProgressBar: on a terminal, one line that is drawn over itself and taken
// away at the end, whatever is told of.
func TestProgressBar(t *testing.T) {
	for name, test := range map[string]struct {
		work        func(*progress, func(time.Duration))
		draws       int
		first, last string
	}{
		"migration": {
			ofMigration, 82, "counting",
			"[########################] copying: 100 %, 4.0 GiB of 4.0 GiB, 4000 of 4000 keys, 341.3 MiB/s, 0s left",
		},
		"check": {ofCheck, 41, "checking", "[########################] checking: 4.0 GiB of 4.0 GiB, 40 records"},
		"load":  {ofLoad, 8, "load", "[########################] run: 3s of 3s, 1000 operations/s, p50 1.50 ms, p99 12.00 ms, 1 errors"},
	} {
		got := toldBy(true, test.work)
		if strings.Contains(got, "\n") {
			t.Errorf("%s: it says more than one line: %q", name, got)
		}
		draws := strings.Split(got, "\r")[1:]
		if n := len(draws); n != test.draws+1 || draws[n-1] != "\x1b[K" {
			t.Fatalf("%s: drawn %d times, and then %q; want %d times and nothing", name, n-1, draws[n-1], test.draws)
		}
		line := func(text string) string { return "\x1b[?7l" + text + "\x1b[K\x1b[?7h" } // cut off where it is too long
		if first, last := draws[0], draws[test.draws-1]; first != line(test.first) || last != line(test.last) {
			t.Errorf("%s: drawn first %q and last %q, want %q and %q", name, first, last, test.first, test.last)
		}
	}
	if half := "[############............] copying: 50 %, 2.0 GiB of 4.0 GiB"; !strings.Contains(toldBy(true, ofMigration), half) {
		t.Errorf("half of a migration is not drawn as %q", half)
	}
}

// TestProgressFlag: what the flag of a load wants where there is no terminal.
func TestProgressFlag(t *testing.T) {
	for how, want := range map[string]string{"auto": "", "off": "", "lines": "fill\n"} {
		var out strings.Builder
		p := flaggedProgress(&out, how)
		p.show(0, "fill")
		p.end()
		if got := out.String(); got != want {
			t.Errorf("%s: it says %q, want %q", how, got, want)
		}
		if told := p.ofLoad("run") != nil; told != (how == "lines") {
			t.Errorf("%s: a load is told of: %v", how, told)
		}
	}
}
