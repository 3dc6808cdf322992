// Package bug names the seeded bugs: deliberate mistakes in the machines that
// prove that the simulator's checkers are not vacuous.
//
// A machine asks On at the place where the mistake would be. In every normal
// build On is the constant false, so the compiler drops the branch. With the
// build tag simbugs a test switches one bug on for the whole process with Set,
// and the simulator must then report a violation within its budget of seeds.
//
// To add a bug: a constant and its name in bug.go, the branch in the machine,
// and a line in the simulator's list of budgets.
//
// It is floor 0: it imports nothing of this module.
package bug
