// Package bench puts a load on a database and measures it.
//
// A [Load] has a [Workload], which says what is done how often, and keys that
// a distribution of package keys chooses. [Load.Fill] writes the keys,
// [Load.Run] does the work in one of two ways:
//
//   - closed loop: each of so many callers asks again when it has its answer.
//     That finds the most that the database does, and says little about its
//     latency: while it stands still nobody asks, so nobody waits.
//   - open loop: requests are due at a fixed rate, whatever becomes of those
//     before, and a latency begins when its request was due. A database that
//     stands still for a second makes all requests of that second late, and
//     all of them are counted (this is what "no coordinated omission" means).
//
// What is measured goes into HDR histograms, for the whole run, for each kind
// of operation, and for each segment between the marks that events leave, such
// as the death of a node. The database is a [DB], which httpkv and the Go
// client implement. Sub-packages draw keys (keys), run nodes as processes
// (procs), ask nodes what they use (usage) and draw the result (plot).
package bench
