package main

import (
	"context"
	"sync"
	"time"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// lostReaders forgets what readers had for themselves in mailboxes to which they
// have had no access for mail_private_flags_keep: flags and annotations. Each owner is looked at
// once after the process has begun to serve them, and then at most daily.
type lostReaders struct {
	parts *parts
	wake  chan string // owners to look at; what does not fit comes at the owner's next session

	mu   sync.Mutex // guards seen
	seen map[string]time.Time
}

const (
	lostEvery   = 24 * time.Hour
	maxLostSeen = 1 << 16
	lostTime    = 5 * time.Minute // for one owner
)

func newLostReaders(p *parts) *lostReaders {
	return &lostReaders{parts: p, wake: make(chan string, 256), seen: map[string]time.Time{}}
}

// opened is called when a session opens an owner's mail. It does not wait, and wakes
// nobody for an owner who was looked at.
func (l *lostReaders) opened(owner string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.seen[owner]) < lostEvery {
		return
	}
	select {
	case l.wake <- owner:
	default:
		return
	}
	if len(l.seen) >= maxLostSeen {
		clear(l.seen)
	}
	l.seen[owner] = now
}

// run works until ctx ends, on one owner at a time.
func (l *lostReaders) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case owner := <-l.wake:
			l.look(ctx, owner)
		}
	}
}

func (l *lostReaders) look(ctx context.Context, owner string) {
	ctx, cancel := context.WithTimeout(ctx, lostTime)
	defer cancel()
	n := l.parts.latest()
	keep := n.set.Mail.PrivateFlagsKeep
	if keep == 0 {
		return
	}
	count, err := n.forgetLost(ctx, owner, keep)
	switch {
	case err != nil:
		l.parts.log.Warn("private flags of readers without access were not looked for", "owner", owner, "error", err)
	case count > 0:
		l.parts.log.Info("private flags of readers without access are forgotten", "owner", owner, "readers", count, "mail_private_flags_keep", keep)
	}
}

// forgetLost looks at one owner. That the owner is known shows that userdbs can
// tell who is.
func (n *node) forgetLost(ctx context.Context, owner string, keep time.Duration) (int, error) {
	home, set, err := n.openOwn(ctx, owner)
	if err != nil {
		return 0, err
	}
	defer home.Close() //nolint:errcheck // never fails
	if !home.HasReaders() {
		return 0, nil
	}
	a := access{node: n, owner: owner, rules: n.aclRules(set), rights: set.ACL.Enabled, known: map[string]*acl.Identity{}}
	return home.ForgetLost(ctx, keep, a.has)
}

// access judges who can read an owner's mailboxes.
type access struct {
	node   *node
	owner  string
	rules  acl.Rules
	rights bool                     // are asked for
	known  map[string]*acl.Identity // by name; nil: there is no such user
}

func (a *access) has(ctx context.Context, at mailbox.Standing, reader string) (bool, error) {
	who, err := a.identity(ctx, reader)
	if err != nil || who == nil {
		return false, err
	}
	return !a.rights || acl.Rights(a.rules.Entries(at), *who).HasAny(imap.RightLookup|imap.RightRead), nil
}

func (a *access) identity(ctx context.Context, reader string) (*acl.Identity, error) {
	if who, is := a.known[reader]; is {
		return who, nil
	}
	groups, err := a.node.groupsOf(ctx, reader)
	if imap.CodeOf(err) == imap.CodeNonExistent {
		a.known[reader] = nil
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	who := &acl.Identity{Owner: a.owner, Acting: reader, Groups: groups}
	a.known[reader] = who
	return who, nil
}
