package dynamo

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"
)

// The disk of one node of three is nearly full. Clients notice nothing, through
// whichever node they come, but for what that node would have to store as well;
// it goes on with its reads, and has what it missed soon after there is room.
func TestVirtualFullDisk(t *testing.T) {
	inLab(t, 3, 32, nil, func(t *testing.T, l *lab) {
		const plenty, full = 900, 10
		h := l.hosts[1]
		h.left.Store(plenty)
		l.powerOff(1)
		l.powerOn(1)
		l.await("the node to measure its disk", func() bool { return h.node.Status().Room.State == "plenty" })
		u := l.user(0)
		for i := range 20 {
			if err := u.put(i%3, fmt.Sprint("before-", i), false); err != nil {
				t.Fatal(err)
			}
		}
		stop := l.work()
		l.pass(5 * time.Second)
		h.left.Store(full)
		l.await("the node to be full", func() bool { return h.node.Status().Room.State == "full" })
		l.pass(2 * time.Second) // for what was under way
		for i := range 60 {
			if err := u.put(i%3, fmt.Sprint("meanwhile-", i), false); err != nil {
				t.Errorf("put through n%d: %v", i%3+1, err)
			}
			if err := u.read(1, fmt.Sprint("before-", i%20), false); err != nil {
				t.Errorf("get through the full node: %v", err)
			}
		}
		var e *Error
		all := []Option{Strict(), WithW(3)}
		if _, err := h.node.Put(t.Context(), "all", []byte("v"), nil, all...); !errors.Is(err, ErrStorageFull) || !errors.As(err, &e) {
			t.Errorf("a put that all three must store: %v", err)
		}
		if _, err := h.node.Put(t.Context(), "all", []byte("v"), nil, all...); !errors.As(err, &e) || e.Outcome != NotWritten {
			t.Errorf("the same when it is known: %v", err)
		}
		if h.node.Err() != nil {
			t.Errorf("the full node has failed: %v", h.node.Err())
		}
		before := h.node.Status().Room
		for range 100 { // what was said of the puts above is not held against others
			if err := u.put(1, "after", true); err != nil {
				t.Errorf("a strict put through the full node: %v", err)
			}
		}
		if before.State != "full" {
			t.Errorf("room %+v in the middle of it", before)
		}
		l.pass(10 * time.Second)
		stop()
		h.left.Store(plenty)
		l.await("the node to have room", func() bool { return h.node.Status().Room.State == "plenty" })
		l.check()
	})
}

// A node that keeps everything in memory takes no more than it may, and takes
// deletes, which make room.
func TestMemoryLimit(t *testing.T) {
	c := memoryConfig(1)
	c.StorageEngine, c.MaxMemoryBytes = "memory", 4<<20 // whatever the others run on
	n := startNode(t, "n1", c)
	waitReady(t, n)
	value := bytes.Repeat([]byte("v"), 10_000)
	contexts := map[string]*Context{}
	var err error
	for i := 0; i < 1000 && err == nil; i++ {
		key := fmt.Sprint("key-", i)
		var context *Context
		if context, err = n.Put(t.Context(), key, value, nil); err == nil {
			contexts[key] = context
		}
	}
	var e *Error
	if !errors.Is(err, ErrStorageFull) || !errors.As(err, &e) || e.Outcome != NotWritten {
		t.Fatalf("after %d values of 10 kB the error is %v", len(contexts), err)
	}
	if least := int(c.MaxMemoryBytes) / len(value) / 2; len(contexts) < least {
		t.Errorf("only %d values are taken, fewer than %d", len(contexts), least)
	}
	for key, context := range contexts {
		wantValues(t, get(t, n, key), string(value))
		if _, err := n.Delete(t.Context(), key, context); err != nil {
			t.Fatalf("a delete on the full node: %v", err)
		}
	}
	deadline := time.Now().Add(patience)
	for {
		if _, err = n.Put(t.Context(), "again", value, nil); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil || n.Err() != nil {
		t.Errorf("when room was made: %v, and the node's failure is %v", err, n.Err())
	}
}

// TestVirtualRoomMarks: each knob does something, on a disk of 1 GiB with 300 MiB left.
func TestVirtualRoomMarks(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*RoomConfig)
		state  string
	}{
		"by default":  {func(*RoomConfig) {}, "plenty"},
		"low share":   {func(r *RoomConfig) { r.LowShare = 0.5 }, "low"},
		"low bytes":   {func(r *RoomConfig) { r.LowShare, r.LowBytes, r.FullBytes = 0.5, 1<<20, 1<<20 }, "plenty"},
		"full share":  {func(r *RoomConfig) { r.FullShare, r.LowShare = 0.5, 0.5 }, "full"},
		"full bytes":  {func(r *RoomConfig) { r.FullShare, r.LowShare, r.FullBytes = 0.5, 0.5, 1<<20 }, "low"},
		"engine need": {func(r *RoomConfig) { *r = RoomConfig{Enabled: true} }, "plenty"},
		"off":         {func(r *RoomConfig) { r.Enabled = false }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			change := func(c *Config) {
				c.N, c.R, c.W = 1, 1, 1
				test.change(&c.Room)
			}
			inLab(t, 1, 1, change, func(t *testing.T, l *lab) {
				l.hosts[0].left.Store(300)
				l.restart(0)
				got := l.hosts[0].node.Status().Room
				if test.state == "" {
					if got != (Room{}) {
						t.Errorf("room %+v, want none", got)
					}
					return
				}
				if got.State != test.state || got.Free != 300<<20 || got.Total != 1<<30 || got.FullAt == 0 {
					t.Errorf("room %+v, want %s", got, test.state)
				}
			})
		})
	}
}
