package main

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/roost-mail/roost/auth"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// memberships are the groups of the users whose rights apply in sessions of this node,
// one for all sessions of a user. They are looked up again when a passwd-file has changed,
// after a reload, and every acl_groups_interval.
type memberships struct {
	node   func() *node // for logins to come
	lookup func(ctx context.Context, user string) ([]string, error)
	log    *slog.Logger

	mu    sync.Mutex // guards users, and count in them
	users map[string]*membership
}

// membership is the groups of one user. It is a mailbox.Membership.
type membership struct {
	groups atomic.Pointer[[]string]
	leave  func() // for each session that has joined, one for all; nil: nobody joins
	count  int    // sessions
	failed bool   // the last lookup; of the goroutine that runs

	mu       sync.Mutex // guards watchers
	watchers map[*groupWatcher]struct{}
}

var _ mailbox.Membership = (*membership)(nil)

func newMembership(groups []string) *membership {
	m := &membership{watchers: map[*groupWatcher]struct{}{}}
	m.groups.Store(&groups)
	return m
}

func newMemberships(p *parts) *memberships {
	return &memberships{
		node: p.latest, log: p.log, users: map[string]*membership{},
		lookup: func(ctx context.Context, user string) ([]string, error) { return p.latest().groupsOf(ctx, user) },
	}
}

// groupsOf are a user's groups, by the userdb or else by acl_groups.
func (n *node) groupsOf(ctx context.Context, user string) ([]string, error) {
	res, err := n.auth.Lookup(ctx, user)
	switch {
	case err != nil:
		return nil, err
	case len(res.Groups) > 0:
		return res.Groups, nil
	}
	return n.defaultGroups(ctx, user)
}

// join is for a session that begins, with the groups that it has found. It leaves when it ends.
func (g *memberships) join(user string, groups []string) *membership {
	g.mu.Lock()
	m := g.users[user]
	if m == nil {
		m = newMembership(groups)
		m.leave = func() { g.leave(user) }
		g.users[user] = m
	}
	m.count++
	g.mu.Unlock()
	g.set(user, m, groups)
	return m
}

func (g *memberships) leave(user string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.users[user]
	if m.count--; m.count == 0 {
		delete(g.users, user)
	}
}

// set has groups hold from now on.
func (g *memberships) set(user string, m *membership, groups []string) {
	old := *m.groups.Swap(&groups)
	if slices.Equal(slices.Sorted(slices.Values(old)), slices.Sorted(slices.Values(groups))) {
		return
	}
	g.log.Info("a user's groups have changed", "user", user, "before", old, "after", groups)
	m.mu.Lock()
	watchers := slices.Collect(maps.Keys(m.watchers))
	m.mu.Unlock()
	for _, w := range watchers {
		w.call()
	}
}

// Groups implements mailbox.Membership.
func (m *membership) Groups() []string { return *m.groups.Load() }

// groupWatcher is somebody who wants to hear of changes.
type groupWatcher struct {
	mu     sync.Mutex
	notify func() // nil: no more
}

func (w *groupWatcher) call() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.notify != nil {
		w.notify()
	}
}

// Watch implements mailbox.Membership.
func (m *membership) Watch(notify func()) (stop func()) {
	w := &groupWatcher{notify: notify}
	m.mu.Lock()
	m.watchers[w] = struct{}{}
	m.mu.Unlock()
	return func() {
		m.mu.Lock()
		delete(m.watchers, w)
		m.mu.Unlock()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.notify = nil
	}
}

// Bounds of looking groups up again.
const (
	groupsLook = time.Second      // between two looks whether a passwd-file has changed
	groupsTime = 10 * time.Second // for one user
)

// run looks groups up again until ctx ends.
func (g *memberships) run(ctx context.Context) {
	var asked *auth.Authenticator
	var changes uint64
	var due time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(groupsLook):
		}
		n := g.node()
		seen, interval := n.auth.Changes(), n.set.ACL.GroupsInterval
		if n.auth == asked && seen == changes && (interval == 0 || time.Now().Before(due)) {
			continue
		}
		asked, changes = n.auth, seen
		g.refresh(ctx)
		due = time.Now().Add(interval - time.Duration(rand.Int64N(int64(interval)/5+1)))
	}
}

// refresh looks up the groups of all who have sessions.
func (g *memberships) refresh(ctx context.Context) {
	g.mu.Lock()
	users := maps.Clone(g.users)
	g.mu.Unlock()
	for user, m := range users {
		if ctx.Err() != nil {
			return
		}
		g.refreshOne(ctx, user, m)
	}
}

// refreshOne looks up one user. Who is none any more is in no group; with an error the
// old groups stay, which is logged once.
func (g *memberships) refreshOne(ctx context.Context, user string, m *membership) {
	ctx, cancel := context.WithTimeout(ctx, groupsTime)
	defer cancel()
	groups, err := g.lookup(ctx, user)
	if err != nil && imap.CodeOf(err) != imap.CodeNonExistent {
		if !m.failed {
			g.log.Warn("a user's groups can't be looked up, the old ones stay", "user", user, "groups", m.Groups(), "error", err)
		}
		m.failed = true
		return
	}
	m.failed = false
	g.set(user, m, groups)
}
