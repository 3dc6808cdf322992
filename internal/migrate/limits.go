package migrate

const (
	// chunkKeys and chunkBytes bound what is read from an engine at once: some
	// milliseconds of reading, and large against what a scan costs to begin.
	// A pair that is larger comes by itself.
	chunkKeys  = 4096
	chunkBytes = 1 << 20
	// batchKeys and batchBytes bound what is written at once. Every engine takes
	// batches of that size; badger is the one with the lowest limit, near 10 MiB.
	batchKeys  = 4096
	batchBytes = 1 << 20
	// syncBytes is after how much that was written it is made durable: what a
	// crash of the machine takes back, and what an engine may have to write out
	// at the end.
	syncBytes = 64 << 20
	// roomMargin is free for what grows with no store: logs, the manifest, what
	// the old engine does meanwhile.
	roomMargin = 64 << 20
)
