package migrate

// Small returns the options with limits so low that small stores take many
// chunks, batches and syncs.
func (o Options) Small() Options {
	o.limits = limits{chunkKeys: 16, chunkBytes: 8 << 10, batchKeys: 12, batchBytes: 6 << 10, syncBytes: 20 << 10, toldKeys: 5}
	return o
}

// BatchBytes and BatchKeys are the limits of a batch.
func BatchBytes() int { return defaultLimits().batchBytes }

// BatchKeys is like BatchBytes.
func BatchKeys() int { return defaultLimits().batchKeys }
