package metrics

func storageFamilies() []family {
	return []family{
		gauge("storage_disk_bytes", "Bytes of the storage engine's files, those not needed any more included.",
			func(r *Reading) float64 { return float64(r.Storage.DiskBytes) }),
		gauge("storage_memory_bytes", "Bytes of data and caches that the storage engine holds in memory.",
			func(r *Reading) float64 { return float64(r.Storage.MemoryBytes) }),
		counter("storage_commits_total", "Batches that the storage engine has taken.",
			func(r *Reading) uint64 { return r.Storage.Commits }),
		counter("storage_fsyncs_total", "Files and directories that the storage engine has synced.",
			func(r *Reading) uint64 { return r.Storage.Fsyncs }),
	}
}
