package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/audit"
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
	return imap.Wrap(imap.CodeUnavailable, fmt.Sprintf("user %s can't be looked up now: %s", name, reason(err)), err)
}

// located is where a name of a user's leads; shared is nil for one's own.
type located struct {
	admin.Box
	shared *namespace.Shared
}

// locateBox resolves a name as namespace.Tree does.
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

// keptHome is an owner's mail as administrators work on it.
type keptHome struct {
	acls  adminACLs
	owner string
	home  share.Home
	set   *config.Settings // the owner's
	rules acl.Rules
}

// open opens an owner's mail, whose changes are published. It makes mail that is not there
// if create says so.
func (a adminACLs) open(ctx context.Context, owner string, create bool) (*keptHome, error) {
	n := a.latest()
	res, err := n.auth.Lookup(ctx, owner)
	if err != nil {
		return nil, lookupFailure(owner, err)
	}
	dir, set, err := mailDir(n.set, res)
	if err != nil {
		return nil, unavailable(err)
	}
	if !create {
		if err := mailThere(n.set, res.User, dir); err != nil {
			return nil, err
		}
	}
	home, err := n.openStore(ctx, res.User, dir, store.View{Acting: res.User})
	if err != nil {
		text := fmt.Sprintf("the mail of %s can't be opened here: %v", owner, errors.Unwrap(err))
		if errors.Is(err, store.ErrInUse) {
			text += ": say it there"
		}
		return nil, imap.Wrap(imap.CodeUnavailable, text, err)
	}
	return &keptHome{acls: a, owner: res.User, home: home, set: set, rules: a.aclRules(set)}, nil
}

// mailThere is NONEXISTENT for a user who has no mail yet, and UNAVAILABLE if a volume is not
// mounted on which it may be, or nobody can tell.
func mailThere(set *config.Settings, user, dir string) error {
	_, err := os.Stat(dir)
	if err == nil {
		return nil
	}
	if away := volumesAway(set); len(away) > 0 {
		return imap.Errorf(imap.CodeUnavailable, "the mail of %s can't be opened here: %s", user, away[0].Text)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return imap.Wrap(imap.CodeNonExistent, fmt.Sprintf("%s has no mail here: %v", user, err), err)
	}
	return imap.Wrap(imap.CodeUnavailable, fmt.Sprintf("whether %s has mail here is not known: %v", user, err), err)
}

// volumesAway are the volumes that are not mounted, or were never marked.
func volumesAway(set *config.Settings) (away []config.Warning) {
	for _, root := range set.Mail.Volumes {
		if _, err := store.VolumeID(root); err != nil {
			away = append(away, config.Warning{Pos: set.Where("mail_volume"), Text: fmt.Sprintf("volume %s is not there: %v", root, err)})
		}
	}
	return away
}

// close closes an owner's mail.
func (k *keptHome) close() {
	if err := k.home.Close(); err != nil {
		k.acls.log.Warn("close account", "owner", k.owner, "error", err)
	}
	k.acls.letGo(k.owner)
}

// entries are those that hold for a mailbox.
func (k *keptHome) entries(ctx context.Context, name string) (*admin.Entries, error) {
	standing, err := k.home.Standing(ctx, name)
	if err != nil {
		return nil, err
	}
	return &admin.Entries{List: k.rules.Entries(standing), Source: k.rules.Source(standing), Off: !k.set.ACL.Enabled}, nil
}

// change changes the entries of a mailbox, and tells the audit log.
func (k *keptHome) change(ctx context.Context, by admin.Author, name string, change func([]mailbox.Entry) ([]mailbox.Entry, error)) error {
	e := acl.Event{Mailbox: name}
	err := k.home.UpdateEntries(ctx, name, k.rules.AuditedChange(&e, change))
	k.acls.noteExpiry(ctx, k.owner, k.home)
	if err == nil && e.Changed {
		k.tell(by, e)
	}
	return err
}

// tell tells the audit log what an administrator did.
func (k *keptHome) tell(by admin.Author, e acl.Event) {
	if a := k.acls; a.audit != nil {
		a.audit.Add(auditRecord(e, audit.Record{What: by.Operation, Operator: by.Name, Owner: k.owner, Node: nodeName(a.latest().set), Client: by.From}))
	}
}

// Entries implements admin.ACLs.
func (a adminACLs) Entries(ctx context.Context, b *admin.Box) (*admin.Entries, error) {
	k, err := a.open(ctx, b.Owner, false)
	if err != nil {
		return nil, err
	}
	defer k.close()
	return k.entries(ctx, b.Mailbox)
}

// Change implements admin.ACLs.
func (a adminACLs) Change(ctx context.Context, by admin.Author, b *admin.Box, change func([]mailbox.Entry) ([]mailbox.Entry, error)) error {
	k, err := a.open(ctx, b.Owner, false)
	if err != nil {
		return err
	}
	defer k.close()
	return k.change(ctx, by, b.Mailbox, change)
}

// Recalc implements admin.ACLs.
func (a adminACLs) Recalc(ctx context.Context, owner string) error {
	if err := a.needSharing(); err != nil {
		return err
	}
	k, err := a.open(ctx, owner, false)
	if err != nil {
		return err
	}
	defer k.close()
	if err := a.publisher.Recalc(ctx, owner, k.home); err != nil {
		return imap.Wrap(imap.CodeUnavailable, "not done: "+err.Error(), err)
	}
	return nil
}

// indexAway is the error for a sharing index that can't be read.
func indexAway(err error) error {
	return imap.Wrap(imap.CodeUnavailable, fmt.Sprintf("the sharing index can't be read: %v", err), err)
}

// Indexed implements admin.ACLs.
func (a adminACLs) Indexed(ctx context.Context, b *admin.Box) (x admin.Indexed, err error) {
	if a.sharing == nil {
		return admin.Indexed{Off: true}, nil
	}
	boxes, vague, err := a.sharing.index.Visible(ctx, b.User, b.Who.Groups)
	if err != nil {
		return x, indexAway(err)
	}
	x.Shares = slices.Contains(vague, b.Owner)
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
	var account mailbox.Complete
	if l.Owner == u.name {
		if account, err = u.openGuarded(ctx); err != nil {
			return 0, err
		}
	} else {
		account = l.shared.Open(l.Owner)
	}
	defer func() { _ = account.Close() }()
	return account.MyRights(ctx, l.Mailbox)
}
