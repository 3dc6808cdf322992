package self

import (
	"testing"
	"time"
)

func TestStarted(t *testing.T) {
	if s := Started(); !s.Equal(Started()) || s.After(time.Now()) || time.Since(s) > time.Hour {
		t.Errorf("it was started at %v", s)
	}
}

func TestMemory(t *testing.T) {
	if rss, peak := Memory(); rss < 1<<20 || peak < 1<<20 {
		t.Errorf("%d bytes in memory, %d at most", rss, peak)
	}
	status := "Name:\tdynamo\nVmHWM:\t    2048 kB\nVmRSS:\t  1024 kB\n"
	if got := kibibytes(status, "VmRSS:"); got != 1<<20 {
		t.Errorf("%d bytes", got)
	}
	if got := kibibytes(status, "VmSwap:"); got != 0 {
		t.Errorf("%d bytes of what is not there", got)
	}
}

// Work takes CPU time.
func TestCPU(t *testing.T) {
	before := CPU()
	for n := 0; CPU() == before; n++ {
		if t.Context().Err() != nil {
			t.Fatal("there is no CPU time")
		}
	}
}
