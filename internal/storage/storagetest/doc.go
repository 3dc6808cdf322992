// Package storagetest has the suites that every storage engine passes:
//
//   - Run, what the port says of an engine that is open: visibility, atomicity,
//     scans and their limits, completions, concurrency, closing;
//   - Model, random operations on an engine and on a map;
//   - Crash, what a disk keeps when its machine loses power. The simulator's
//     model of a disk passes it too, so that what is found with the model
//     holds for the real engines;
//   - Bench, the figures that engines are compared by.
//
// An engine's package calls them from its own tests.
package storagetest
