// Package coordtest says what every cluster.Coordinator does.
package coordtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roost-mail/roost/cluster"
)

// Fixture is a Coordinator that is new, and what a test can do with it.
type Fixture struct {
	Coordinator cluster.Coordinator

	// Compact forgets what happened up to a revision.
	Compact func(t *testing.T, revision cluster.Revision)

	// TTL is the shortest lease that it grants.
	TTL time.Duration
}

// Run runs the suite. make gives each test a Coordinator without keys.
func Run(t *testing.T, make func(t *testing.T) Fixture) {
	for name, test := range map[string]func(*testing.T, Fixture){
		"Keys":       testKeys,
		"Prefixes":   testPrefixes,
		"Together":   testTogether,
		"WatchEnds":  testWatchEnds,
		"Conditions": testConditions,
		"Limits":     testLimits,
		"OneWins":    testOneWins,
		"Watch":      testWatch,
		"WatchAt":    testWatchAt,
		"Compacted":  testCompacted,
		"Lease":      testLease,
		"LeaseEnds":  testLeaseEnds,
		"Cancelled":  testCancelled,
	} {
		t.Run(name, func(t *testing.T) { test(t, make(t)) })
	}
}

func put(key, value string) cluster.Op { return cluster.Op{Key: key, Value: []byte(value)} }

func commit(t *testing.T, c cluster.Coordinator, txn cluster.Txn) cluster.Revision {
	t.Helper()
	rev, ok, err := c.Commit(t.Context(), txn)
	if err != nil || !ok {
		t.Fatalf("commit: %v, %v", ok, err)
	}
	return rev
}

func refused(t *testing.T, c cluster.Coordinator, txn cluster.Txn) {
	t.Helper()
	if rev, ok, err := c.Commit(t.Context(), txn); err != nil || ok {
		t.Fatalf("commit at %d: %v, %v", rev, ok, err)
	}
}

// keys are a range as text: key=value@changed.
func keys(t *testing.T, c cluster.Coordinator, prefix string) (out []string, at cluster.Revision) {
	t.Helper()
	kvs, at, err := c.Range(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range kvs {
		out = append(out, fmt.Sprintf("%s=%s@%d", kv.Key, kv.Value, kv.Changed))
	}
	return out, at
}

func want(t *testing.T, got any, format string, args ...any) {
	t.Helper()
	if w := fmt.Sprintf(format, args...); fmt.Sprint(got) != w {
		t.Fatalf("got %v, want %s", got, w)
	}
}

func testKeys(t *testing.T, f Fixture) {
	c := f.Coordinator
	r1 := commit(t, c, cluster.Txn{Then: []cluster.Op{put("a/2", "x"), put("a/1", ""), put("b", "y"), put("a", "z")}})
	r2 := commit(t, c, cluster.Txn{Then: []cluster.Op{put("a/2", "w"), {Key: "b", Delete: true}}})
	if r2 <= r1 {
		t.Fatalf("revision %d after %d", r2, r1)
	}
	got, at := keys(t, c, "a/")
	want(t, got, "[a/1=@%d a/2=w@%d]", r1, r2)
	want(t, at, "%d", r2)
	got, _ = keys(t, c, "")
	want(t, got, "[a=z@%d a/1=@%d a/2=w@%d]", r1, r1, r2)
	got, _ = keys(t, c, "c")
	want(t, got, "[]")
}

// testPrefixes looks for keys beside a prefix, and at its ends.
func testPrefixes(t *testing.T, f Fixture) {
	c := f.Coordinator
	rev := commit(t, c, cluster.Txn{Then: []cluster.Op{put("o", ""), put("p", ""), put("p/", ""), put("p\xff", ""), put("q", "")}})
	for prefix, w := range map[string]string{"p": "[p=@%[1]d p/=@%[1]d p\xff=@%[1]d]", "p/": "[p/=@%[1]d]", "p\xff": "[p\xff=@%[1]d]"} {
		got, _ := keys(t, c, prefix)
		want(t, got, w, rev)
	}
	got, _ := keys(t, c, "p0")
	want(t, got, "[]")
}

func testConditions(t *testing.T, f Fixture) {
	c := f.Coordinator
	r1 := commit(t, c, cluster.Txn{If: []cluster.Condition{{Key: "k"}}, Then: []cluster.Op{put("k", "1")}})
	refused(t, c, cluster.Txn{If: []cluster.Condition{{Key: "k"}}, Then: []cluster.Op{put("k", "2")}})
	r2 := commit(t, c, cluster.Txn{If: []cluster.Condition{{Key: "k", Changed: r1}, {Key: "none"}}, Then: []cluster.Op{put("k", "3"), put("l", "4")}})
	refused(t, c, cluster.Txn{If: []cluster.Condition{{Key: "l", Changed: r2}, {Key: "k", Changed: r1}}, Then: []cluster.Op{{Key: "l", Delete: true}}})
	commit(t, c, cluster.Txn{Then: []cluster.Op{{Key: "k", Delete: true}}})
	refused(t, c, cluster.Txn{If: []cluster.Condition{{Key: "k", Changed: r2}}, Then: []cluster.Op{put("k", "5")}})
	r4 := commit(t, c, cluster.Txn{If: []cluster.Condition{{Key: "k"}}, Then: []cluster.Op{put("k", "6")}})
	got, _ := keys(t, c, "")
	want(t, got, "[k=6@%d l=4@%d]", r4, r2)
}

func testLimits(t *testing.T, f Fixture) {
	c := f.Coordinator
	var txn cluster.Txn
	for i := range cluster.MaxOps {
		key := fmt.Sprintf("k%03d", i)
		txn.If, txn.Then = append(txn.If, cluster.Condition{Key: key}), append(txn.Then, put(key, "v"))
	}
	commit(t, c, txn)
	txn.If, txn.Then = nil, append(txn.Then, put("more", "v"))
	if _, _, err := c.Commit(t.Context(), txn); err == nil {
		t.Error("more than MaxOps were done")
	}
	for i := range cluster.MaxOps + 1 {
		txn.If = append(txn.If, cluster.Condition{Key: fmt.Sprintf("none%d", i)})
	}
	if _, _, err := c.Commit(t.Context(), cluster.Txn{If: txn.If, Then: []cluster.Op{put("more", "v")}}); err == nil {
		t.Error("more than MaxOps conditions were looked at")
	}
	if _, _, err := c.Commit(t.Context(), cluster.Txn{Then: []cluster.Op{put("k", "1"), put("k", "2")}}); err == nil {
		t.Error("a key was changed twice at once")
	}
	got, _ := keys(t, c, "")
	want(t, len(got), "%d", cluster.MaxOps)
}

// testOneWins has many want the same key at once.
func testOneWins(t *testing.T, f Fixture) {
	var all sync.WaitGroup
	var mu sync.Mutex
	winners := 0
	for i := range 16 {
		all.Go(func() {
			_, ok, err := f.Coordinator.Commit(t.Context(), cluster.Txn{If: []cluster.Condition{{Key: "k"}}, Then: []cluster.Op{put("k", fmt.Sprint(i))}})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if ok {
				winners++
			}
		})
	}
	all.Wait()
	want(t, winners, "1")
}

// follow watches until until says that it has seen enough, and gives what was told.
func follow(t *testing.T, c cluster.Coordinator, prefix string, after cluster.Revision, enough func(seen []string, at cluster.Revision) bool) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var seen []string
	done := false
	err := c.Watch(ctx, prefix, after, func(events []cluster.Event, at cluster.Revision) {
		if done {
			return
		}
		for _, e := range events {
			if e.Changed != at {
				t.Errorf("%s of revision %d was told with %d", e.Key, e.Changed, at)
			}
			if e.Deleted {
				seen = append(seen, fmt.Sprintf("-%s@%d", e.Key, e.Changed))
			} else {
				seen = append(seen, fmt.Sprintf("%s=%s@%d", e.Key, e.Value, e.Changed))
			}
		}
		if enough(seen, at) {
			done = true
			cancel()
		}
	})
	if !done {
		t.Fatalf("the watch ended with %v after %v", err, seen)
	}
	return seen
}

// testWatch tells what happened before it began and what happens then, in order.
func testWatch(t *testing.T, f Fixture) {
	c := f.Coordinator
	r0 := commit(t, c, cluster.Txn{Then: []cluster.Op{put("w/before", "x")}})
	r1 := commit(t, c, cluster.Txn{Then: []cluster.Op{put("w/a", "1"), put("w/b", "2"), put("other", "3")}})
	var r2 cluster.Revision
	var later sync.WaitGroup
	later.Go(func() {
		commit(t, c, cluster.Txn{Then: []cluster.Op{put("other", "4")}})
		r2 = commit(t, c, cluster.Txn{Then: []cluster.Op{{Key: "w/a", Delete: true}, put("w/b", "5")}})
	})
	seen := follow(t, c, "w/", r0, func(seen []string, _ cluster.Revision) bool { return len(seen) >= 4 })
	later.Wait()
	want(t, seen, "[w/a=1@%d w/b=2@%d -w/a@%d w/b=5@%d]", r1, r1, r2, r2)
}

// testWatchAt has a watch hear of revisions that concern it not at all.
func testWatchAt(t *testing.T, f Fixture) {
	c := f.Coordinator
	r0 := commit(t, c, cluster.Txn{Then: []cluster.Op{put("other", "1")}})
	r1 := commit(t, c, cluster.Txn{Then: []cluster.Op{put("other", "2")}})
	r2 := commit(t, c, cluster.Txn{Then: []cluster.Op{put("w", "3")}})
	seen := follow(t, c, "w", r0, func(_ []string, at cluster.Revision) bool { return at >= r2 })
	want(t, seen, "[w=3@%d]", r2)
	if r1 <= r0 {
		t.Error("revisions do not grow")
	}
}

// testTogether has several change keys at once. Each reads what it wrote, and a watch tells
// every revision once, whole, and in order.
func testTogether(t *testing.T, f Fixture) {
	c := f.Coordinator
	const writers, rounds = 4, 25
	r0 := commit(t, c, cluster.Txn{Then: []cluster.Op{put("begin", "")}})
	var all sync.WaitGroup
	var mu sync.Mutex
	made := map[cluster.Revision]bool{}
	for w := range writers {
		all.Go(func() {
			for range rounds {
				rev, ok, err := c.Commit(t.Context(), cluster.Txn{Then: []cluster.Op{put(fmt.Sprintf("t/%d/a", w), ""), put(fmt.Sprintf("t/%d/b", w), "")}})
				kvs, at, readErr := c.Range(t.Context(), fmt.Sprintf("t/%d/", w))
				if err != nil || !ok || readErr != nil || at < rev || len(kvs) != 2 || kvs[0].Changed != rev || kvs[1].Changed != rev {
					t.Errorf("%d, %v, %v; then %v at %d, %v", rev, ok, err, kvs, at, readErr)
				}
				mu.Lock()
				made[rev] = true
				mu.Unlock()
			}
		})
	}
	last := r0
	follow(t, c, "t/", r0, func(seen []string, at cluster.Revision) bool {
		if at < last {
			t.Errorf("revision %d after %d", at, last)
		}
		if n := len(seen); at != last && n%2 != 0 {
			t.Errorf("half of revision %d was told", at)
		}
		last = at
		return len(seen) >= 2*writers*rounds
	})
	all.Wait()
	seen := follow(t, c, "t/", r0, func(seen []string, _ cluster.Revision) bool { return len(seen) >= 2*writers*rounds })
	told := map[string]int{}
	for _, s := range seen {
		told[s[strings.LastIndexByte(s, '@')+1:]]++
	}
	for rev := range made {
		if n := told[fmt.Sprint(rev)]; n != 2 {
			t.Errorf("of revision %d %d keys were told", rev, n)
		}
	}
	want(t, len(made), "%d", writers*rounds)
}

// testWatchEnds ends a watch that waits.
func testWatchEnds(t *testing.T, f Fixture) {
	c := f.Coordinator
	rev := commit(t, c, cluster.Txn{Then: []cluster.Op{put("k", "1")}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- c.Watch(ctx, "k", rev-1, func([]cluster.Event, cluster.Revision) { cancel() })
	}()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("it ended without a reason")
		}
	case <-time.After(time.Minute):
		t.Error("it goes on")
	}
}

func testCompacted(t *testing.T, f Fixture) {
	c := f.Coordinator
	r0 := commit(t, c, cluster.Txn{Then: []cluster.Op{put("k", "0")}})
	for i := range 5 {
		commit(t, c, cluster.Txn{Then: []cluster.Op{put("k", fmt.Sprint(i))}})
	}
	_, at := keys(t, c, "")
	f.Compact(t, at)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.Watch(ctx, "k", r0, func([]cluster.Event, cluster.Revision) {}); !errors.Is(err, cluster.ErrCompacted) {
		t.Fatalf("a watch from before ended with %v", err)
	}
	r7 := commit(t, c, cluster.Txn{Then: []cluster.Op{put("k", "last")}})
	want(t, follow(t, c, "k", at, func(seen []string, _ cluster.Revision) bool { return len(seen) > 0 }), "[k=last@%d]", r7)
}

func testLease(t *testing.T, f Fixture) {
	c := f.Coordinator
	id, ttl, err := c.Grant(t.Context(), f.TTL)
	if err != nil || id == 0 || ttl < f.TTL {
		t.Fatalf("grant: %d, %v, %v", id, ttl, err)
	}
	commit(t, c, cluster.Txn{Then: []cluster.Op{{Key: "a", Value: []byte("1"), Lease: id}, {Key: "b", Lease: id}, put("c", "3")}})
	if kvs, _, err := c.Range(t.Context(), "a"); err != nil || len(kvs) != 1 || kvs[0].Lease != id {
		t.Fatalf("%v, %v", kvs, err)
	}
	if left, err := c.KeepAlive(t.Context(), id); err != nil || left < f.TTL {
		t.Fatalf("keepalive: %v, %v", left, err)
	}
	// A key that is set without its lease stays.
	rev := commit(t, c, cluster.Txn{Then: []cluster.Op{put("b", "2")}})
	if err := c.Revoke(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	got, _ := keys(t, c, "a")
	want(t, got, "[]")
	got, _ = keys(t, c, "b")
	want(t, got, "[b=2@%d]", rev)
	if err := c.Revoke(t.Context(), id); err != nil {
		t.Errorf("revoked twice: %v", err)
	}
	if _, err := c.KeepAlive(t.Context(), id); !errors.Is(err, cluster.ErrNoLease) {
		t.Errorf("keepalive of a lease that has ended: %v", err)
	}
	if _, _, err := c.Commit(t.Context(), cluster.Txn{Then: []cluster.Op{{Key: "d", Lease: id}}}); !errors.Is(err, cluster.ErrNoLease) {
		t.Errorf("a key with a lease that has ended: %v", err)
	}
}

// testLeaseEnds leaves a lease alone: its keys go, all in one revision.
func testLeaseEnds(t *testing.T, f Fixture) {
	c := f.Coordinator
	id, _, err := c.Grant(t.Context(), f.TTL)
	if err != nil {
		t.Fatal(err)
	}
	rev := commit(t, c, cluster.Txn{Then: []cluster.Op{{Key: "l/a", Lease: id}, {Key: "l/b", Lease: id}}})
	seen := follow(t, c, "l/", rev, func(seen []string, _ cluster.Revision) bool { return len(seen) >= 2 })
	want(t, seen, "[-l/a@%d -l/b@%d]", rev+1, rev+1)
	if _, err := c.KeepAlive(t.Context(), id); !errors.Is(err, cluster.ErrNoLease) {
		t.Errorf("keepalive: %v", err)
	}
}

func testCancelled(t *testing.T, f Fixture) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := f.Coordinator.Range(ctx, ""); err == nil {
		t.Error("Range")
	}
	if _, _, err := f.Coordinator.Commit(ctx, cluster.Txn{}); err == nil {
		t.Error("Commit")
	}
	if err := f.Coordinator.Watch(ctx, "", 0, func([]cluster.Event, cluster.Revision) {}); err == nil {
		t.Error("Watch")
	}
}
