// Package self tells what this process is and what it uses of its machine.
package self
