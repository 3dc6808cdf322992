// Package storagetest has the suites that every storage engine passes:
//
//   - Run, what the port says of an engine that is open: visibility, atomicity,
//     scans and their limits, completions, concurrency, closing;
//   - Restart, what it says of stops and starts;
//   - CommitDoesNotWait, what it says of an engine whose disk takes its time;
//   - Model, random operations on an engine and on a map;
//   - Metamorphic, the same random operations for all engines, with stops,
//     crashes and other options at each start;
//   - Crash, what a disk keeps when its machine loses power. The simulator's
//     model of a disk passes it too, so that what is found with the model
//     holds for the real engines;
//   - CrashEverywhere, FailEverywhere, ReadFailEverywhere and LieEverywhere, for
//     engines that run on package vfs: a power cut before each operation on the
//     disk, and each operation, read and sync failing, or lying;
//   - Process, processes that are killed;
//   - Bench, the figures that engines are compared by.
//
// An engine's package calls them from its own tests.
package storagetest
