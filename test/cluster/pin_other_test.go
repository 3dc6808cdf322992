//go:build !linux

package cluster

import "testing"

func onCore(tb testing.TB, _ int, _ func()) {
	tb.Helper()
	tb.Fatal("processes can be kept to one core on Linux only")
}

func moveToCore(tb testing.TB, _ int) {
	tb.Helper()
	tb.Fatal("processes can be kept to one core on Linux only")
}
