// Package plot draws the timeline of a run as an SVG image: throughput and
// errors above, latencies below, and what happened meanwhile across both.
package plot
