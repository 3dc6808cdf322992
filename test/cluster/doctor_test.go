package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// diagnosed is the part of a doctor's report that is looked at here.
type diagnosed struct {
	Healthy bool     `json:"healthy"`
	Worst   string   `json:"worst"`
	Notes   []string `json:"notes"`
	Damage  []struct {
		Key  string `json:"key"`
		Cost string `json:"cost"`
	} `json:"damage"`
}

// doctor runs the program's doctor on a data directory.
func doctor(t *testing.T, dir string) (report diagnosed, code int) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path, "doctor", dir, "--json").Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if code > 1 {
		t.Fatalf("doctor: exit code %d: %s", code, exit.Stderr)
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("doctor prints %q: %v", out, err)
	}
	return report, code
}

// stop ends the process as an operator does.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	<-p.exited
}

// flipStored changes a byte of a value in the segments of an lss store.
func flipStored(t *testing.T, dir, value string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "lss", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(b, []byte(value))
		if at < 0 {
			continue
		}
		found++
		b[at+len(value)/2] ^= 4
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if found == 0 {
		t.Fatal("the value is nowhere on the disk")
	}
}

// repaired returns how many keys anti-entropy has changed, by the node's word.
func (p *process) repaired() (keys int) {
	a, err := p.do("GET", "/v1/status", nil)
	var s struct {
		AntiEntropy struct {
			KeysRepaired int `json:"keys_repaired"`
		} `json:"anti_entropy"`
	}
	if err == nil {
		err = json.Unmarshal(a.body, &s)
	}
	if err != nil {
		return 0
	}
	return s.AntiEntropy.KeysRepaired
}

// TestDamageIsFoundAndHealed: the disk of a node that was killed changes a byte.
// The doctor finds it and says which key is lost; the node starts, and
// anti-entropy alone brings the key back, with nobody reading it; afterwards the
// doctor is content. After a clean stop the node trusts its saved hash trees,
// so there it takes one look at the key.
func TestDamageIsFoundAndHealed(t *testing.T) {
	dir := t.TempDir()
	args := []string{"--engine", "lss", "--anti-entropy-interval", "50ms", "--layout-delay", "0s"}
	free := "127.0.0.1:0"
	data := filepath.Join(dir, "n3")
	a := serve(t, "n1", free, filepath.Join(dir, "n1"), args...)
	args = append(args, "--join", a.addr)
	b := serve(t, "n2", free, filepath.Join(dir, "n2"), args...)
	c := serve(t, "n3", free, data, args...)
	all := []*process{a, b, c}
	for _, p := range all {
		p.awaitMembers(3)
	}
	for _, round := range []struct {
		name, key, value string
		stop             func()
		look             bool
	}{
		{"killed", "a key", "a value that is not to be lost", c.kill, false},
		{"stopped", "another key", "a second value, to be kept too", c.stop, true},
	} {
		// The last batch of all, after a kill, cannot be told from a torn one.
		for _, write := range [][2]string{{round.key, round.value}, {round.key + " after it", "a value"}} {
			if code, body, err := a.put(write[0], write[1], "?overwrite=true&w=3"); err != nil || code != 204 {
				t.Fatalf("put: %d %s %v", code, body, err)
			}
		}
		round.stop()
		if r, code := doctor(t, data); code != 0 || !r.Healthy {
			t.Fatalf("%s, before anything is damaged: exit code %d, %+v", round.name, code, r)
		}
		flipStored(t, data, round.value)
		r, code := doctor(t, data)
		if code != 1 || len(r.Damage) != 1 || r.Damage[0].Key != `"`+round.key+`"` || r.Worst != "record" {
			t.Fatalf("%s, with a byte flipped: exit code %d, %+v; want the record of %q lost", round.name, code, r, round.key)
		}
		before := a.repaired() + b.repaired()
		c.restart()
		c.awaitMembers(3)
		if round.look {
			c.inspect(round.key)
		}
		await(t, "anti-entropy to repair the key", func() bool {
			return a.repaired()+b.repaired()-before+c.repaired() > 0
		})
		c.stop()
		if r, code := doctor(t, data); code != 0 || !r.Healthy || len(r.Notes) == 0 {
			t.Fatalf("%s, after anti-entropy: exit code %d, %+v; want a healthy one with a note on what was replaced", round.name, code, r)
		}
		c.restart()
		c.awaitMembers(3)
		if got := c.inspect(round.key); len(got.Values) != 1 || string(got.Values[0].Data) != round.value {
			t.Errorf("%s: its own copy reads %+v", round.name, got)
		}
	}
}
