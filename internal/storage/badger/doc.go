// Package badger is an engine on dgraph's badger: a log-structured merge tree
// of keys, with the values from valueThreshold on in a log of their own, so that
// compactions do not copy them. It can encrypt what it stores.
//
// Package grouped does what badger leaves open: commits show at once, and all
// that come in during one synced transaction share the next. badger would have a
// reader wait for the transaction under way; here it does not, because the
// timestamps are the engine's own (badger's managed mode).
//
// # What badger does not say, and what is done about it
//
// badger only logs that a sync of its value log has failed, that a value cannot
// be read, or that a memtable cannot be flushed. So whatever it logs as an error
// stops the engine, and every answer of badger is believed only when nothing was
// logged. After such an error Close waits for badger, but not where badger is
// trying to flush a memtable again and again, which may never end: then its
// goroutines, and its own lock on the folder, remain until the process ends.
//
// Where badger cannot open a store, it leaves two goroutines behind, which do
// nothing.
//
// badger takes a manifest that ends in what is no record for one that a crash has
// torn, and removes the tables that it has not read of. Where there are any, the
// store does not open (manifest.go).
//
// badger does not sync its folder when it has begun a new log. The engine does,
// before it reports what is in that log as durable.
//
// # Garbage
//
// Values that were replaced stay in the value log until a file of it is
// rewritten. The collector, a goroutine of the engine, has badger do that every
// gcInterval for all files of which half is known to be garbage, and ends with
// Close. badger learns what is garbage from its compactions.
//
// # Deletions
//
// Rewriting a file of the value log puts its values back into the tree as they
// were, above newer entries of their keys. That does no harm to what was
// replaced: the newest entry counts, wherever it is, and badger keeps it. But
// badger drops a deletion, once, in the lowest level, there is nothing older for
// it to hide, and knows nothing of the value that was put back above: the key
// would come back. So what is deleted keeps an entry without a value that says
// so, a mark. When the collector has come around, and an eighth of all entries or
// more are marks, it looks at all keys: a mark that is all that badger has of its
// key, in any level, hides nothing that could be moved, and only then badger is
// told to delete the key, which compactions then forget. Until they have dropped
// what a mark hides and then the mark, it takes the room of the key and some bytes.
//
// # Limits
//
// A batch is one transaction, and must fit into a part of a memtable: keys, and
// values that are smaller than valueThreshold, up to 9.6 MiB in some 100,000
// writes. Larger values count as twelve bytes, so sets of 32 MiB are no matter.
// One that does not fit stops the engine: no loop of a node makes such batches.
//
// # The file system
//
// badger maps its files into memory and writes to them there. So it cannot run on
// vfs (Open refuses any file system but vfs.OS; the tests kill processes
// instead), and a disk that is full ends the process, with a fault that nobody
// can catch, when the system finds no block for a page. So it does not open where
// less than minFree is left, carries out no transaction there, but fails, and
// collects no garbage where a file that is rewritten would lead there. What
// minFree is for are the tables that badger writes in the background; where others
// fill the disk at that moment, the fault comes all the same.
//
// Its logs are made longer than what is in them; Stats counts what they take of
// the disk where the system tells.
package badger
