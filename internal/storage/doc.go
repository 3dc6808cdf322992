// Package storage is the port to the storage engines: an ordered key-value
// store of bytes with atomic batches, a durability choice for each with a
// completion, and ordered scans. An engine knows nothing of versions, keys of
// clients, or the cluster.
//
// # Engines
//
// Every engine is a package beside this one, with the same files: doc.go,
// options.go, engine.go, and engine_test.go which runs the suites of
// storagetest. It offers a Driver; package engines has the list of them all
// and is where a node opens one:
//
//	engine, identity, err := engines.Open(storage.Options{Engine: "pebble", Dir: dir, Node: self})
//
// # The data directory
//
// A durable engine keeps its files in a folder of its own in the data
// directory, beside two files of this package:
//
//	LOCK            held while the directory is open
//	identity.json   who wrote it: format, engine, node, instance
//	pebble/         the engine's own files
//
// Data that turned out to be an old copy is set aside under other names
//
//	aside-INSTANCE.json     its identity
//	aside-INSTANCE-ENGINE/  the engine's files
//
// and nobody reads it any more. An operator may remove both, or move them to a
// directory of their own, under their old names, and look into that.
//
// While a stopped node's data moves to another engine, a file migration.json
// says from which to which, and there is a folder of either. The identity goes on
// to name the engine that has the data; the migration ends with one step that
// changes it. What was kept of the old engine is then aside as well:
//
//	aside-INSTANCE-ENGINE-migrated/
//
// The identity is written last, when the engine's folder is complete, and
// atomically. Until then a file identity.json.tmp says that the directory is
// being made, so that a start after a crash in the middle of it begins anew;
// from then on a folder that is missing is an error and no longer filled.
package storage
