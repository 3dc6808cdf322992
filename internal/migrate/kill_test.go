package migrate_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/migrate"
	"github.com/dynamo-kv/dynamo/internal/storage/engines"
	"github.com/dynamo-kv/dynamo/internal/storage/storagetest"
)

var kills = flag.Int("migrate.kills", 3, "processes that TestKill kills on each way")

// killDir and killTo make TestKill the process that is killed.
const (
	killDir = "DYNAMO_MIGRATE_TEST_DIR"
	killTo  = "DYNAMO_MIGRATE_TEST_TO"
)

// TestKill kills real processes (SIGKILL) that migrate, on a way over all engines
// and back, each somewhere else. After each kill a node is started with the engine
// that has the data, finds all of it, and changes some; and at last a migration is
// let through, which finds nothing or the rest to do.
func TestKill(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		migrateAloud(t, dir, os.Getenv(killTo))
		return
	}
	n := osNode(t)
	rng := rand.New(rand.NewPCG(8, 9))
	names := durable()
	identity := n.commit(t, names[0], n.data.change(rng, 400), n.data.odd(), n.data.change(rng, 400))
	killed, where := 0, make(map[string]int)
	for i, from := range names {
		to := names[(i+1)%len(names)]
		for k := range *kills {
			last := fmt.Sprintf("progress %v %d", migrate.Verifying, len(n.data))
			after := rng.IntN(200)
			if k == *kills-1 || k%4 == 3 {
				after = endless // the switch comes next
			}
			if killMigration(t, n.dir, to, after, last) {
				killed++
			}
			was, err := n.owner(from, to)
			if err != nil {
				t.Fatal(err)
			}
			where[from+" to "+to+": "+was]++
			if err := n.check(was, identity); err != nil {
				t.Fatalf("from %s to %s, a node with %s: %v", from, to, was, err)
			}
			n.commit(t, was, n.data.change(rng, 50))
			if was == to {
				break
			}
		}
		if _, err := migrate.Run(t.Context(), migrate.Options{Dir: n.dir, To: to}, n.drivers...); err != nil {
			t.Fatal(err)
		}
		if err := n.check(to, identity); err != nil {
			t.Fatalf("from %s to %s: %v", from, to, err)
		}
	}
	if t.Logf("%d processes were killed; where the data was after each: %v", killed, where); killed == 0 {
		t.Error("no process was killed before it had ended")
	}
}

// migrateAloud is the process: it says how far it is.
func migrateAloud(t *testing.T, dir, to string) {
	o := migrate.Options{Dir: dir, To: to}.Small()
	o.Progress = func(p migrate.Progress) { fmt.Printf("progress %v %d\n", p.Phase, p.Keys) }
	if _, err := migrate.Run(t.Context(), o, engines.Drivers()...); err != nil {
		t.Error(err)
	}
	fmt.Println("progress done")
}

// endless is more than a process ever tells.
const endless = 1 << 30

// killMigration kills a process when it has told of some progress, or has said
// its last before the switch, and tells whether it came to that.
func killMigration(t *testing.T, dir, to string, after int, last string) (killed bool) {
	t.Helper()
	told, doomed := 0, false
	end, said := storagetest.Spawn(t, []string{killDir + "=" + dir, killTo + "=" + to}, func(line string, kill func()) bool {
		if !strings.HasPrefix(line, "progress ") {
			return false
		}
		if told++; told == after+1 || line == last {
			doomed = true
			kill() // it may have ended by now
		}
		return true
	})
	if !doomed && !end.Success() {
		t.Fatalf("the process failed: %v\n%s", end, said)
	}
	return !end.Success()
}
