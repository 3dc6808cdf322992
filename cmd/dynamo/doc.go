// Command dynamo runs nodes of a replicated key-value database and talks to
// them: dynamo dev starts a cluster on this machine, dynamo serve one node,
// and put, get, delete and status are clients. docs/cli.md describes them.
//
// There is a file for each subcommand. What they share is in settings.go (the
// configuration out of flags, environment and file), client.go (HTTP), exit.go
// (errors and exit codes) and terminal.go (logs and colours).
package main
