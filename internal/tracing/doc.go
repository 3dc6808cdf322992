// Package tracing turns the spans of core into those of OpenTelemetry and
// exports them. It begins a span for each request that comes in, decides
// whether the request is traced, and takes the spans that the machines leave.
// What is not sampled leaves none, so only sampled requests cost anything.
//
// docs/observability.md shows what a trace looks like.
package tracing
