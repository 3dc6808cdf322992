// Package httpkv puts a load on a cluster through its HTTP API, which any
// client without a library of ours would use.
package httpkv
