package main

import (
	"encoding/json"
	"strings"
	"testing"
)

const statusAnswer = `{"node":"n1","cluster":"0000000000000abc","serving":false,"waits_for":"a seed",
"members":[{"id":"n1","address":"127.0.0.1:7171","zone":"a","status":"alive","state":"active","partitions":1024},
{"id":"node-2","address":"10.0.0.1:1","zone":"","status":"dead","state":"joining","partitions":0,"breaker":"open"},
{"id":"old","address":"10.0.0.2:1","zone":"","status":"none","state":"left","partitions":0}],
"layout":{"version":2,"partitions":1024,"replicas":3,"phase":"copying"},"under_replicated":true,
"transition":{"pulls":9,"left":4,"blocked":["node-2"]},"leftovers":1,
"hints":{"records":3,"bytes":70,"max_bytes":100,"pending":[{"target":"n3","keys":1},{"target":"node-2","keys":2}],"refused":5},
"read_repair":{"sent":1,"own":2,"dropped":3,"waited":4},
"background":{"throttled":true,"slots":2,"max_slots":10,"held":2,"wanted":3,"p99_ms":131.6,"threshold_ms":100},
"room":{"state":"full","free_bytes":5,"total_bytes":100,"low_at_bytes":20,"full_at_bytes":10},
"forgetting":{"reaped":7,"blocked_by":{"id":"node-2","since":"2026-11-26T10:00:00Z"}},
"anti_entropy":{"trees_building":3,"pairs":512,"compared":512,"since":"2026-11-26T13:02:11.5Z","keys_repaired":1}}`

func parsedStatus(t *testing.T) *status {
	t.Helper()
	var st status
	if err := json.Unmarshal([]byte(statusAnswer), &st); err != nil {
		t.Fatal(err)
	}
	return &st
}

func TestStatusText(t *testing.T) {
	want := `node n1, cluster 0000000000000abc
layout 2, copying: 1024 partitions, 3 replicas of each key
anti-entropy: 512 of 512 pairs compared, each since 2026-11-26T13:02:11Z; 1 key repaired; 3 hash trees to build
this node does not serve yet: it waits for a seed
under-replicated: fewer than 3 nodes
this node copies what the layout gives it: 4 of 9 partitions left
the change of the layout goes on when these nodes are back: node-2
this node holds keys of 1 partition that it does not own
this node does not call node-2, which did not answer: its circuit breaker is open
this node keeps 1 key for n3 until it can be reached
this node keeps 2 keys for node-2 until it can be reached
hints are full, or were: 70 B of 100 B, 5 refused
reads found more owners behind than they may repair at once: 3 left to anti-entropy
slow requests slow background work down: p99 132 ms, threshold 100 ms, 2 of 10 slots
this node has no room left: 5 B of 100 B are free, and at 10 B it takes no more writes but deletes
deleted keys are kept: since 2026-11-26T10:00:00Z node node-2 does not confirm that they may be forgotten

NODE    ADDRESS         ZONE  STATUS  STATE    PARTITIONS
n1      127.0.0.1:7171  a     alive   active   1024
node-2  10.0.0.1:1      -     dead    joining  0
old     10.0.0.2:1      -     -       left     0
`
	if got := parsedStatus(t).text(false); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestStatusColours(t *testing.T) {
	st := parsedStatus(t)
	coloured := st.text(true)
	for _, want := range []string{"\x1b[32malive\x1b[0m   active", "\x1b[31mdead\x1b[0m    joining"} {
		if !strings.Contains(coloured, want) {
			t.Errorf("%q is not in %q", want, coloured)
		}
	}
	for _, code := range []string{green, yellow, red, plain} {
		coloured = strings.ReplaceAll(coloured, code, "")
	}
	if coloured != st.text(false) {
		t.Errorf("without its colours the table is another:\n%s", coloured)
	}
}

func TestStatusShowsDatacentresWhereThereAreAny(t *testing.T) {
	st := parsedStatus(t)
	st.Members[1].Datacentre = "zrh"
	const want = "NODE    ADDRESS         DATACENTRE  ZONE  STATUS  STATE    PARTITIONS\n" +
		"n1      127.0.0.1:7171  -           a     alive   active   1024\n" +
		"node-2  10.0.0.1:1      zrh         -     dead    joining  0\n"
	if got := st.text(false); !strings.Contains(got, want) {
		t.Errorf("%q is not in\n%s", want, got)
	}
}
