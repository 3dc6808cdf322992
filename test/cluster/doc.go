// Package cluster holds scenarios over assembled nodes and real processes:
// what an operator would see. Simulated clusters are in internal/sim.
package cluster
