package main

import (
	"encoding/json"
	"testing"
)

const explainAnswer = `{"key":"k","node":"n1","position":"e7c5ca42cd4bed7f","partition":927,
"layouts":[{"version":3,"name":"3-00000abc","owners":["n1"]},{"version":4,"name":"4-00000def","owners":["node-2"]}],
"phase":"copying","equal":false,"nodes":[
{"id":"n1","role":"owner","status":"alive","held":{"layout":"4-00000def","phase":"copying","copy":{"siblings":[
 {"dot":{"actor":"n1~0000000000000007.1","counter":3},"clock":{"n1~0000000000000007.1":3,"a~0000000000000001.1":2},"timestamp":"2026-11-26T15:41:18.5Z","bytes":5},
 {"dot":{"actor":"node-2~0000000000000009.1","counter":1},"clock":{},"timestamp":"2026-11-26T15:41:19Z","tombstone":true,"bytes":0}]}}},
{"id":"node-2","role":"incoming","status":"dead","error":"connection refused"},
{"id":"n3","role":"fallback","status":"alive","held":{"layout":"3-00000abc","phase":"stable","copy":{"siblings":[]},
 "hint":{"owners":[{"id":"n1","since":"2026-11-26T10:00:00Z"},{"id":"node-2","data":true}],"kept":{"siblings":[
 {"dot":{"actor":"n1~0000000000000007.1","counter":3},"clock":{"n1~0000000000000007.1":3},"timestamp":"2026-11-26T15:41:18Z","bytes":5}]}}}},
{"id":"n4","role":"fallback","status":"alive","held":{"layout":"4-00000def","phase":"copying","copy":{"siblings":[]}}}]}`

func TestExplainText(t *testing.T) {
	var e explained
	if err := json.Unmarshal([]byte(explainAnswer), &e); err != nil {
		t.Fatal(err)
	}
	want := `key "k": position e7c5ca42cd4bed7f, partition 927
layout 3-00000abc, on its way out: owners n1
layout 4-00000def, copying: owners node-2
the owners do not hold the same, or have not all answered
node-2 has not answered: connection refused
n3 goes by layout 3-00000abc, stable
n3 notes since 2026-11-26T10:00:00Z that n1 missed a write
n3 keeps the key for node-2

NODE    ROLE      STATUS  HOLDS         BYTES  DOT
n1      owner     alive   value         5      n1~0000000000000007.1:3
n1      owner     alive   tombstone     0      node-2~0000000000000009.1:1
node-2  incoming  dead    ?             -      -
n3      fallback  alive   value (hint)  5      n1~0000000000000007.1:3
n4      fallback  alive   nothing       -      -

DOT                          TIME                  CLOCK
n1~0000000000000007.1:3      2026-11-26T15:41:18Z  a~0000000000000001.1:2
                                                   n1~0000000000000007.1:3
node-2~0000000000000009.1:1  2026-11-26T15:41:19Z  -
n1~0000000000000007.1:3      2026-11-26T15:41:18Z  n1~0000000000000007.1:3
`
	if got := e.text("k", false); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
