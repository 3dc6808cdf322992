package pebble

import (
	"testing"
	"testing/synctest"
	"time"
)

// A stall counts from its beginning, and one under way so far.
func TestStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s stalls
		want := func(count uint64, spent time.Duration) {
			t.Helper()
			if n, d := s.read(); n != count || d != spent {
				t.Errorf("%d stalls of %v; want %d of %v", n, d, count, spent)
			}
		}
		want(0, 0)
		s.begin()
		<-time.After(time.Second)
		want(1, time.Second)
		s.end()
		<-time.After(time.Second)
		want(1, time.Second)
		s.begin()
		<-time.After(time.Minute)
		s.end()
		want(2, time.Second+time.Minute)
	})
}
