package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/audit"
	"github.com/roost-mail/roost/auth"
	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapserver"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/namespace"
	"github.com/roost-mail/roost/share"
	"github.com/roost-mail/roost/store"
)

// adminACLs are rights as administrators ask for them and change them.
type adminACLs struct{ *parts }

// acting is a user as a session of theirs would have them, without a client.
func (a adminACLs) acting(ctx context.Context, name string) (*user, error) {
	n := a.latest()
	res, err := n.auth.Lookup(ctx, name)
	if err != nil {
		return nil, lookupFailure(name, err)
	}
	here := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	c := &imapserver.Client{SessionID: "admin-" + rand.Text()[:8], Peer: here, Local: here, Remote: here, Connected: here}
	return n.user(ctx, c, res)
}

// lookupFailure says that a user does not exist, or that nobody knows.
func lookupFailure(name string, err error) error {
	if imap.CodeOf(err) == imap.CodeNonExistent {
		return imap.Wrap(imap.CodeNonExistent, "user "+name+" doesn't exist", err)
	}
	return imap.Wrap(imap.CodeUnavailable, "user "+name+" can't be looked up now", err)
}

// located is where a name of a user's leads; shared is nil for one's own.
type located struct {
	admin.Box
	shared *namespace.Shared
}

// locate resolves a name as namespace.Tree does.
func (u *user) locateBox(name string) (*located, error) {
	l := &located{Box: admin.Box{User: u.name, Name: name, Owner: u.name, Mailbox: imap.CanonicalName(name)}}
	shared, err := u.sharedNamespaces()
	if err != nil {
		return nil, unavailable(err)
	}
	if s := namespace.Find(shared, name); s != nil {
		if s.Foreign {
			return nil, imap.Errorf(imap.CodeCannot, "%s is mail of another installation: ask there", name)
		}
		owner, rest, ok := s.Resolve(name)
		if !ok {
			return nil, admin.NoBox(name)
		}
		l.Owner, l.Mailbox, l.Namespace, l.shared = owner, rest, s.Prefix(owner), s
	}
	l.Who = acl.Identity{Owner: l.Owner, Acting: u.acting, Groups: u.groups}
	return l, nil
}

// Find implements admin.ACLs.
func (a adminACLs) Find(ctx context.Context, name, box string) (*admin.Box, error) {
	u, err := a.acting(ctx, name)
	if err != nil {
		return nil, err
	}
	l, err := u.locateBox(box)
	if err != nil {
		return nil, err
	}
	if l.Owner != u.name {
		_, err = a.latest().auth.Lookup(ctx, l.Owner)
	}
	switch {
	case imap.CodeOf(err) == imap.CodeNonExistent:
		l.OwnerIs = "no userdb knows the name"
	case err != nil:
		return nil, lookupFailure(l.Owner, err)
	}
	return &l.Box, nil
}

// Here implements admin.ACLs.
func (a adminACLs) Here(owner string) bool { return a.holds == nil || a.holds(owner) }

// open opens an owner's mail, whose changes are published; done closes it. It makes no
// mail that is not there.
func (a adminACLs) open(ctx context.Context, owner string) (home acl.Home, set *config.Settings, done func(), err error) {
	n := a.latest()
	res, err := n.auth.Lookup(ctx, owner)
	if err != nil {
		return nil, nil, nil, lookupFailure(owner, err)
	}
	if set, _, err = n.set.ForUser(res.UserFields); err != nil {
		return nil, nil, nil, unavailable(err)
	}
	if err := hasMail(n.set, res); err != nil {
		return nil, nil, nil, err
	}
	dir, err := mailDir(n.set, res)
	if err != nil {
		return nil, nil, nil, unavailable(err)
	}
	if home, err = n.openStore(ctx, res.User, dir, store.View{Acting: res.User}); err != nil {
		return nil, nil, nil, imap.Wrap(imap.CodeUnavailable, fmt.Sprintf("the mail of %s can't be opened here: %v", owner, errors.Unwrap(err)), err)
	}
	return home, set, func() { a.done(home, res.User) }, nil
}

// hasMail says that a user who was never here has no mail yet.
func hasMail(set *config.Settings, res *auth.Result) error {
	dir, err := mailDir(set, res)
	if err != nil {
		return unavailable(err)
	}
	if _, err := os.Stat(dir); err != nil {
		return imap.Wrap(imap.CodeNonExistent, fmt.Sprintf("%s has no mail here: %v", res.User, err), err)
	}
	return nil
}

// done closes an owner's mail.
func (a adminACLs) done(home acl.Home, owner string) {
	if err := home.Close(); err != nil {
		a.log.Warn("close account", "owner", owner, "error", err)
	}
	a.letGo(owner)
}

// Entries implements admin.ACLs.
func (a adminACLs) Entries(ctx context.Context, b *admin.Box) (*admin.Entries, error) {
	home, set, done, err := a.open(ctx, b.Owner)
	if err != nil {
		return nil, err
	}
	defer done()
	standing, err := home.Standing(ctx, b.Mailbox)
	if err != nil {
		return nil, err
	}
	rules := a.aclRules(set)
	return &admin.Entries{List: rules.Entries(standing), Source: rules.Source(standing), Off: !set.ACL.Enabled}, nil
}

// Change implements admin.ACLs.
func (a adminACLs) Change(ctx context.Context, by admin.Author, b *admin.Box, change func([]mailbox.Entry) ([]mailbox.Entry, error)) error {
	home, set, done, err := a.open(ctx, b.Owner)
	if err != nil {
		return err
	}
	defer done()
	rules := a.aclRules(set)
	e := acl.Event{Mailbox: b.Mailbox}
	err = home.UpdateEntries(ctx, b.Mailbox, rules.AuditedChange(&e, change))
	a.noteExpiry(ctx, b.Owner, home)
	if err == nil && e.Changed && a.audit != nil {
		a.audit.Add(auditRecord(e, audit.Record{What: by.Operation, Operator: by.Name, Owner: b.Owner, Node: nodeName(a.latest().set), Client: by.From}))
	}
	return err
}

// Recalc implements admin.ACLs.
func (a adminACLs) Recalc(ctx context.Context, owner string) error {
	if a.publisher == nil {
		return imap.Errorf(imap.CodeCannot, "there is no sharing index: acl_shared_dict is not set")
	}
	home, _, done, err := a.open(ctx, owner)
	if err != nil {
		return err
	}
	defer done()
	if shared, is := home.(share.Home); is {
		err = a.publisher.Recalc(ctx, owner, shared)
	}
	if err != nil {
		return imap.Wrap(imap.CodeUnavailable, "not done: "+err.Error(), err)
	}
	return nil
}

// Indexed implements admin.ACLs.
func (a adminACLs) Indexed(ctx context.Context, b *admin.Box) (x admin.Indexed, err error) {
	if a.index == nil {
		return admin.Indexed{Off: true}, nil
	}
	boxes, vague, err := a.index.Visible(ctx, b.User, b.Who.Groups)
	if err != nil {
		return x, imap.Wrap(imap.CodeUnavailable, "the sharing index can't be read", err)
	}
	for _, owner := range vague {
		x.Shares = x.Shares || owner == b.Owner
	}
	for _, e := range boxes[b.Owner] {
		x.Shares, x.Exact = true, true
		if e.Name == b.Mailbox {
			x.Rights = e.Rights
		}
	}
	return x, nil
}

// Answer implements admin.ACLs.
func (a adminACLs) Answer(ctx context.Context, b *admin.Box) (imap.Rights, error) {
	u, err := a.acting(ctx, b.User)
	if err != nil {
		return 0, err
	}
	l, err := u.locateBox(b.Name)
	if err != nil {
		return 0, err
	}
	var account mailbox.Account
	if l.Owner == u.name {
		if account, err = u.openGuarded(ctx); err != nil {
			return 0, err
		}
	} else {
		account = l.shared.Open(l.Owner)
	}
	defer func() { _ = account.Close() }()
	rights, ok := account.(mailbox.ACL)
	if !ok {
		return 0, imap.Errorf(imap.CodeCannot, "ACLs disabled.")
	}
	return rights.MyRights(ctx, l.Mailbox)
}
