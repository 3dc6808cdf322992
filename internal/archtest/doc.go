// Package archtest holds the layout of the system as a test: which package
// may import which, and what the pure floors may not use. It follows Go's own
// go/build/deps_test.go. Nothing imports it.
package archtest
