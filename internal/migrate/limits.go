package migrate

// roomMargin is free for what grows with no store: logs, the manifest, what the
// old engine does meanwhile.
const roomMargin = 64 << 20

// limits bound what a migration has in memory, and how much of it a crash takes
// back. Only tests have others.
type limits struct {
	// chunkKeys and chunkBytes bound what is read from an engine at once: some
	// milliseconds of reading, and large against what a scan costs to begin.
	// A pair that is larger comes by itself.
	chunkKeys, chunkBytes int
	// batchKeys and batchBytes bound what is written at once. Every engine takes
	// batches of that size; badger is the one with the lowest limit, near 10 MiB.
	batchKeys, batchBytes int
	// syncBytes is after how much that was written it is made durable: what a
	// crash of the machine takes back, and what an engine may have to write out
	// at the end.
	syncBytes int
	// toldKeys is after how many keys progress is told: a hundred times a second
	// or less.
	toldKeys int
}

func defaultLimits() limits {
	return limits{
		chunkKeys: 4096, chunkBytes: 1 << 20,
		batchKeys: 4096, batchBytes: 1 << 20,
		syncBytes: 64 << 20,
		toldKeys:  512,
	}
}
