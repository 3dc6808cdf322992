package ring

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/id"
)

// dumbPreference says in the shortest way what a preference list is.
func dumbPreference(l *Layout, p Partition) []id.Node {
	var list []id.Node
	add := func(n id.Node) {
		if !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	for i := range Partition(l.Partitions()) {
		for _, n := range l.Owners((p + i) % Partition(l.Partitions())) {
			add(n)
		}
	}
	for _, m := range l.Members() {
		add(m.ID)
	}
	return list
}

func TestPreferenceIsOwnersThenFallbacksClockwise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCluster(t)
		l := mustFormFor(t, 1<<rapid.IntRange(0, 6).Draw(t, "bits"), c)
		p := Partition(rapid.IntRange(0, l.Partitions()-1).Draw(t, "partition"))
		want := dumbPreference(l, p)
		if len(want) != len(c.members) || !slices.Equal(want[:l.OwnerCount()], l.Owners(p)) {
			t.Fatalf("the twin is wrong: %v", want)
		}
		if got := l.AppendPreference(nil, p, -1); !slices.Equal(got, want) {
			t.Fatalf("the preference list of %d is %v, want %v", p, got, want)
		}
		limit := rapid.IntRange(0, len(want)+1).Draw(t, "limit")
		got := l.AppendPreference([]id.Node{"before"}, p, limit)
		if !slices.Equal(got, append([]id.Node{"before"}, want[:min(limit, len(want))]...)) {
			t.Fatalf("the first %d of %v are %v", limit, want, got)
		}
		stop := rapid.IntRange(1, len(want)).Draw(t, "stop")
		count := 0
		l.Preference(p, func(id.Node) bool {
			count++
			return count < stop
		})
		if count != stop {
			t.Fatalf("yield was called %d times, and returned false at %d", count, stop)
		}
	})
}

// TestPreferenceListsMembersWithoutPartitions has more members than places.
func TestPreferenceListsMembersWithoutPartitions(t *testing.T) {
	l := mustForm(t, 2, 1, cluster(5, 0))
	for p := range Partition(2) {
		got := l.AppendPreference(nil, p, -1)
		if len(got) != 5 || !slices.Equal(got, dumbPreference(l, p)) {
			t.Errorf("the preference list of %d is %v", p, got)
		}
		if !slices.IsSorted(got[2:]) {
			t.Errorf("%v are not in the order of their IDs", got[2:])
		}
	}
}

func TestUnknownPartition(t *testing.T) {
	l := mustForm(t, 4, 2, cluster(3, 0))
	for _, p := range []Partition{4, 5, 1<<32 - 1} {
		if got := l.AppendPreference(nil, p, -1); got != nil || l.Owners(p) != nil || l.Owns("n000", p) {
			t.Errorf("partition %d of 4 has owners: %v, %v", p, got, l.Owners(p))
		}
		if first, last := l.Range(p); first <= last {
			t.Errorf("partition %d of 4 is %x to %x", p, first, last)
		}
	}
}

func TestLookupsDoNotAllocate(t *testing.T) {
	l := mustForm(t, 256, 3, cluster(12, 3))
	key := []byte("key")
	count := 0
	yield := func(id.Node) bool { count++; return true }
	for name, lookup := range map[string]func(){
		"Owners":     func() { count += len(l.Owners(l.Partition(key))) },
		"Owns":       func() { l.Owns("n003", l.Partition(key)) },
		"Preference": func() { l.Preference(l.Partition(key), yield) },
	} {
		if n := testing.AllocsPerRun(100, lookup); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// TestPartitionsCoverTheRing walks the ranges: they are in order, without a
// gap, and hold exactly the positions that At gives them.
func TestPartitionsCoverTheRing(t *testing.T) {
	for _, partitions := range []int{1, 2, 8, 1024, id.MaxPartitions} {
		l := mustForm(t, partitions, 1, cluster(1, 0))
		next := Position(0)
		for p := range Partition(partitions) {
			first, last := l.Range(p)
			if first != next || l.At(first) != p || l.At(last) != p {
				t.Fatalf("partition %d of %d is %x to %x, after %x", p, partitions, first, last, next)
			}
			next = last + 1
		}
		if next != 0 {
			t.Errorf("%d partitions end before %x", partitions, next)
		}
	}
}

// TestHashIsForEver holds the hash to values that other implementations of
// xxhash64 print too: data on disks depends on them.
func TestHashIsForEver(t *testing.T) {
	for key, want := range map[string]Position{
		"":    0xef46db3751d8e999,
		"a":   0xd24ec4f1a98c6e5b,
		"abc": 0x44bc2cf5ad770999,
	} {
		if got := Hash([]byte(key)); got != want {
			t.Errorf("Hash(%q) = %x, want %x", key, uint64(got), uint64(want))
		}
	}
}
