// Package engines knows every storage engine, and opens the one that a
// configuration names.
package engines
