// Package keys draws the keys that a load asks for: all alike (uniform), few
// much oftener than the rest (zipfian), or those that were written last
// (latest). It decides and does nothing else: randomness comes in, so that a
// seed makes the same load again.
package keys
