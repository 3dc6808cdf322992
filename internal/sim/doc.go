// Package sim runs whole clusters in virtual time: the very same node.Shard
// and node.Control that production runs, over a model network, model disks and
// clients that keep a history. One seed gives one run, to the byte.
//
// # The model
//
// One heap of events, ordered by time, a seeded tie-break and a sequence,
// moves the world. A process has a loop for Control and one for each shard; a
// loop drains its queue, steps its machine, flushes, and pays for it in virtual
// time. The network delays, loses, repeats and reorders messages and can be cut
// one way or both ways. A disk keeps what was synced, and after a crash some
// prefix of what was not, with a torn tail that recovery drops: the contract
// that internal/storage/storagetest holds every real engine to. Clocks are
// skewed and jump. Disks are wiped, and replaced by copies that were made earlier:
// lostdisk.go says what may be gone then, and that nothing else may.
//
// # The checkers
//
// Clients read, write with what they have read, write blindly, overwrite and
// delete, on few keys, so that they contend. Every value is unique. What the
// history must hold is in check.go: no lost write, no phantom, no false
// siblings, no resurrection, strict quorums; in trees.go, convergence with reads
// off and hash trees that a rescan confirms; in forget.go, what may be
// forgotten; in health.go, that nobody who runs is dead for anybody in calm
// times, nor alive who has long been down. While it runs, equal dots with other
// bytes, contexts that cover what their holder has not seen, and
// acknowledgements of what is not on a disk fail at once. So does a hint that is
// let go of before its owner has it on its disk; in the end none is left, and
// where only messages were lost all owners are equal by hints alone.
//
// # To add
//
// A fault: its kind and how it is drawn in fault.go and plan.go, what it does
// in inject.go. A checker: a function in check.go, and a seeded bug that it
// catches. A seeded bug: a name in internal/bug, a branch on bug.On where the
// mistake would be made, and its budget of seeds in bugs_test.go.
//
// A seed that ever failed stays in the tests.
package sim
