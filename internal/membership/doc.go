// Package membership is the machine that knows who is in the cluster, who of
// them is alive, and which layout it goes by: gossip, failure detection, forming
// and joining, member records, and the agreement on layouts and on the phases of
// their transitions.
//
// A Machine has no goroutine, no lock and no clock. Each method is one step:
// it takes the time, changes the machine and appends effects to a core.Out.
// node.Control wraps it; the runtime and the simulator drive that.
//
// # Who writes what
//
// A member's record is written by that member alone; everybody else passes it
// on. The newer record wins: the higher incarnation, then the later change, which
// is named by the heartbeat at which it was made. Heartbeats alone grow with each
// round and are no change: they are spread without the records, are not
// persisted, and bring no new view. The incarnation is persisted and grows with
// each start, before the first message; a node that hears of a record of its own
// that it did not write takes a higher one.
//
// Layouts have no leader and no vote. A core.LayoutState is a register that
// only grows, ordered by its stamp (number, digest, phase); every node adopts
// a newer one whole, whoever sent it, and any node may write the next one when
// the members' records allow it:
//
//   - the next layout is planned when the members differ from the layout's and
//     have been unchanged for LayoutDelay times (1 + the node's rank in the
//     layout), so that normally one node plans. Where several do, equal inputs
//     give equal layouts; unequal ones fork, the larger name wins, and what
//     the loser held is planned again. Only a node plans that hears more than
//     half of the layout's members, none of which has newer layouts: a stale
//     or cut-off one would outbid the others with a higher number;
//   - PhaseCopy ends when every member of the new layout shows Synced with the
//     new layout's full name;
//   - PhaseMoved ends when N-R+1 old owners of each partition show a stamp that
//     refuses reads under the old layout. N is the old layout's number of
//     owners and R the configured one, lowered to it.
//
// A dead member blocks both ends of a transition until it is back, since
// nobody may speak for it: a dead new owner the first, more than R-1 dead old
// owners of a partition the second. Meanwhile both layouts are live and
// serve, and the status names those that the transition waits for. Failure
// detection changes nothing about it: a death is an opinion, and a layout that
// went by it would lose what the dead has. Removal by command comes with a later
// step. R must be configured alike on all nodes, and a read with a smaller r than that
// may miss a write while a layout retires.
//
// N and the number of partitions belong to the cluster, from its forming on. A
// node whose configuration differs goes by the cluster's: nodes with different
// N would plan in turns for ever, and R and W would not fit any more.
//
// # Gossip
//
// In each round, a jittered interval after the one before, a node gossips with
// three random members and, so that the dead are found again, with one that it
// does not hold for alive; now and then with a seed. When something lasting has
// changed a round comes at once. A message has:
//
//   - its sender's own record;
//   - the records that are new to the sender, a few times each: news is known
//     everywhere after some log(n) rounds;
//   - a digest, which finds whatever rumours have missed. Members are divided
//     into buckets by the hashes of their IDs; of a bucket the digest has a hash
//     of who is in it, one of what their records say, and the heartbeats in the
//     order of the hashes, a few bytes a member and no name. Where who is equal,
//     both sides take the newer heartbeats. Where what differs, the reply lists
//     the versions of the bucket's records, and the asker sends those that it has
//     newer with the request for those that it has older;
//   - the layouts, if the receiver is known to have older ones.
//
// Digest, versions and records of a message are limited, whatever the size of
// the cluster. Digests go through the buckets in turns, so that a round has all
// of them about once in the largest cluster, and in each message of a small one;
// records that do not fit are chosen from a random one on.
//
// # Failure detection
//
// A peer is alive, suspected or dead: an opinion of this node, never gossiped.
// It goes by the phi (package phi) of the silence since the latest sign of life.
//
//   - A heartbeat that moves is a sign of life and, if it comes at least half an
//     interval after the one before, a gap of the rhythm. Gaps count as five
//     intervals at most.
//   - An answer to a request of a shard or of gossip is a sign of life but no gap.
//     So a peer that is asked a thousand times a second has no rhythm of a
//     millisecond, which would make it dead as soon as clients pause; the time
//     to the next heartbeat is at most what it is from heartbeat to heartbeat.
//   - A request that fails or times out adds a fifth of the first threshold to
//     phi, until an answer takes it back, or ten intervals pass. Five in a row
//     suspect a peer whose heartbeats still come by way of others: this node
//     cannot reach it. They hold nobody for dead, but hasten it.
//   - A new start of a peer is believed at once. Until ten gaps are known, since
//     this node has just started or the peer has, it is given more time.
//   - A node whose own round is overdue by more than an interval has stood still
//     itself. That time is nobody's silence, and what failed meanwhile, and in the
//     interval after, counts against nobody.
//
// # What is durable
//
// A promise is durable before it is told. A layout state is persisted before
// the View with it is handed out and before it is gossiped; the own record
// shows a stamp when every shard has reported that it goes by it, and what
// shards go by came from such a View. Until the node's identity (cluster and
// incarnation) is durable, the machine neither sends nor answers.
//
// # The disk's age
//
// A node stamps its disk each minute, durably, and tells its own stamp with
// each message of gossip, beside the newest one that it remembers of the
// receiver's disk. Both are written down with the next stamp. A disk whose
// stamp is older than id.MaxDiskAge at a start may be an old copy, from which
// what was deleted and forgotten since could come back, and which must not
// acknowledge what would then have to be set aside with the rest (scenarios
// reap-then-restore and set-aside-too-much). Such a node publishes no View, so
// that its shards neither serve nor send, until half of the other members have
// spoken. The first that remembers a newer stamp proves the copy: the machine
// fails with core.ErrOldDisk, and its shell sets the data aside and begins anew
// with an empty disk. A cluster of one, and a node that is told to, go on at
// once.
//
// Stamps of an ID only grow, over its instances too: a new one begins above
// what is remembered of those before it, so that the disk of a node that was
// replaced is found out as well.
//
// # Joining
//
// A node without a cluster asks its seeds with cluster 0. The answer has the
// members and the layouts; it adopts them, makes them durable and only then
// gossips as a member. Nobody counts it before that, so a join that ends
// halfway leaves nothing behind. Two kinds of answer carry no layouts: one
// with cluster 0 comes from a node that has no cluster to give, and one with a
// cluster and a record of the joiner's own ID says that a live instance holds
// that ID already.
//
// A node alone in a cluster that it formed itself, without keys, may leave it
// to join another. While it tries to, it gives its own to nobody; and for a
// while after it gave its own to somebody it does not try. So two nodes cannot
// swap clusters.
//
// Two fresh nodes that are each other's seeds both wait, and their status says
// for what: the first node of a cluster has no seeds, or only its own address.
//
// # One ID, several instances
//
// An instance is one data directory. A record of a known ID from another
// instance is accepted if it comes from the same address (the old process
// cannot listen there any more), or if the old instance has shown no new
// heartbeat for five gossip intervals. Otherwise it is refused, and its sender
// with it. The owner of an ID applies the same rule to itself: while it hears
// a live instance of its ID with a higher incarnation, it does not compete;
// it says so in its status and does not count as serving.
package membership
