// Package room says how much room a node's storage has left: plenty, little, or
// none for what clients and other nodes would like to store.
//
// A Gauge takes one measurement after another. At its full mark the node stops
// taking what needs room, while there is still some: the engine needs it to
// write its logs and to give back what is no longer used, and the node for its
// own records. At the low mark somebody should look after it. A state ends only
// when the room is a part above its mark, so that a node at a mark does not go
// back and forth with each write.
//
// It is a calculator: what was measured comes in as an argument.
package room
