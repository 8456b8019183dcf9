// Package namespace is one user's tree of mailboxes: one's own mail at the
// root, and under prefixes the mail that other users share, wherever it lives.
//
// A Tree is an Account that finds the Account a name belongs to and passes the
// command on under the name it has there. It judges nothing: rights are
// decided where the mailbox lives. It adds three things that only the tree can
// know: which owners share something with its user, copying between two
// accounts, and that subscriptions are kept with the reader.
//
// A Tree belongs to one session. Accounts of other owners are opened when a
// name first leads to them and closed with the Tree.
package namespace

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Config says what a Tree is made of.
type Config struct {
	User   string
	Groups mailbox.Membership // nil: the user is in none
	Own    mailbox.Complete   // closed with the Tree
	Shared []Shared

	Log     *slog.Logger
	Session string // whose Tree it is, for the log

	// Uses are special uses of own mailboxes that have been given none (RFC 6154).
	Uses map[string][]imap.Attr

	// ServerMetadata are entries of the server that nobody changes (RFC 5464
	// section 3.2.1.1).
	ServerMetadata []imap.MetadataEntry

	// Closed, if set, is called when the Tree was closed.
	Closed func()

	// Moves is that of all Trees in this process; without it a MOVE between two
	// homes that is interrupted may leave messages in both.
	Moves *Moves
}

// Shared is a namespace of type shared: other users' mail under a prefix that
// names the owner.
type Shared struct {
	// Root is the prefix up to its first variable, with the delimiter: `shared/`.
	Root string

	// Match takes a name below Root apart: the owner, and the name within the
	// owner's mail, which is empty for the owner's own node. ok is false where
	// no owner is named. Prefix is its inverse and ends with the delimiter.
	Match  func(name string) (owner, rest string, ok bool)
	Prefix func(owner string) string

	// ExplicitInbox has an owner's INBOX be called so, below the owner's node.
	ExplicitInbox bool

	// AliasFor, if set, is the Root of the namespace that has the same mail. Nothing is
	// listed under the names of this one.
	AliasFor string

	List   ListMode
	Hidden bool // not in the NAMESPACE reply

	// Public says that the mail is one account's, which is nobody's in particular and which
	// names don't show: Root itself is its prefix.
	Public bool

	// Foreign says that the owners are another installation's: they are no users of this
	// one, be their names the same. Match and Prefix then know none of the user's name.
	Foreign bool

	// AutoSubscribe has the user be subscribed to what others share, until the user
	// unsubscribes.
	AutoSubscribe bool

	// Open returns the owner's Account with the user as acting user. It does
	// not wait: what can't be reached answers so at its first use.
	Open func(owner string) mailbox.Complete

	Index Index
}

// ListMode says whether a namespace shows in LIST.
type ListMode uint8

// The values of the setting `list`.
const (
	ListChildren ListMode = iota // the root only if something is below it
	ListYes                      // the root always
	ListNo                       // nothing
)

// Index knows who shares what. share.Index is one. It is comparable: namespaces that have
// the same are listed from one answer.
type Index interface {
	// Visible returns the mailboxes that the user may list, in the owners' own
	// terms and by owner, with the user's rights, without asking any of them. Vague are owners who are
	// known to share something, but not what: they are asked.
	Visible(ctx context.Context, user string, groups []string) (mailboxes map[string][]mailbox.ListEntry, vague []string, err error)
}

// Watcher is an Index that tells of changes.
type Watcher interface {
	// Watch has notify be called after changes of what Visible returns, until stop is
	// called; it may be called once more meanwhile. notify must not wait.
	Watch(user string, groups func() []string, notify func()) (stop func())
}

// Tree is the Account of a session.
type Tree struct {
	cfg         Config
	owners      []openOwner                    // used last at the end; at most maxOwners
	selected    mailbox.Account                // of the mailbox that is open, if any
	observation *observation                   // nil while nothing is observed
	listed      map[string][]mailbox.ListEntry // what vague owners answered last
	roots       map[string]quotaRoot           // of other owners, by the names the session knows
	finishAt    time.Time                      // when interrupted moves are tried again
}

// openOwner is another owner's Account.
type openOwner struct {
	namespace *Shared
	owner     string
	account   mailbox.Complete
}

// maxOwners bounds the accounts of others that a session keeps open: each may
// hold a connection, here and at the owner's backend.
const maxOwners = 16

const (
	// listTimeout bounds the wait for owners that the index does not know in detail.
	listTimeout = 2 * time.Second

	// statusTimeout bounds the wait for each owner in Statuses.
	statusTimeout = 5 * time.Second
)

// New makes a Tree.
func New(cfg Config) *Tree {
	return &Tree{cfg: cfg}
}

func (t *Tree) log() *slog.Logger { return t.cfg.Log.With("session", t.cfg.Session) }

// place is where a name leads.
type place struct {
	account mailbox.Complete
	name    string // in account's terms
	shared  bool   // the name is below a shared namespace, though perhaps one's own
}

// find resolves a name of the tree, and opens the account it leads to.
func (t *Tree) find(name string) (place, error) {
	l, err := t.locate(name)
	if err != nil {
		return place{}, err
	}
	p := place{account: t.cfg.Own, name: l.name, shared: l.namespace != nil}
	if l.owner != "" {
		p.account = t.owner(l.namespace, l.owner)
	}
	return p, nil
}

// location is where a name leads before any account is opened.
type location struct {
	namespace *Shared // nil for one's own mail under its own name
	owner     string  // another user; empty for one's own mail
	name      string  // in the owner's terms
}

// locate resolves a name of the tree. One's own name under a shared prefix is
// one's own mail. A name that lies in a shared namespace but names no owner,
// the root itself for instance, is no mailbox.
func (t *Tree) locate(name string) (location, error) {
	s := Find(t.cfg.Shared, name)
	if s == nil {
		return location{name: imap.CanonicalName(name)}, nil
	}
	owner, rest, ok := s.Resolve(name)
	if !ok {
		return location{}, imap.NoMailbox()
	}
	if owner == t.cfg.User {
		owner = ""
	}
	if s.AliasFor != "" {
		s = Find(t.cfg.Shared, s.AliasFor)
	}
	return location{namespace: s, owner: owner, name: rest}, nil
}

// Find is the shared namespace that a name lies in, or is the root of: of several the
// one with the longest root. It is nil for names outside of all.
func Find(shared []Shared, name string) (found *Shared) {
	for i := range shared {
		s := &shared[i]
		if strings.HasPrefix(name+string(imap.Delimiter), s.Root) && (found == nil || len(s.Root) > len(found.Root)) {
			found = s
		}
	}
	return found
}

// Resolve is whose mailbox a name in the namespace is, and how the owner calls it. ok is
// false for a name that no mailbox can have.
func (s *Shared) Resolve(name string) (owner, mailbox string, ok bool) {
	if !strings.HasPrefix(name, s.Root) {
		return "", "", false
	}
	owner, rest, ok := s.Match(name)
	if rest == "" {
		rest, ok = imap.Inbox, ok && !s.ExplicitInbox
	}
	return owner, imap.CanonicalName(rest), ok
}

// name is that in the tree of an owner's mailbox.
func (s *Shared) name(owner, mailbox string) string {
	prefix := s.Prefix(owner)
	if mailbox == imap.Inbox && !s.ExplicitInbox {
		return strings.TrimSuffix(prefix, string(imap.Delimiter))
	}
	return prefix + mailbox
}

// owner returns an owner's Account, opening it if need be.
func (t *Tree) owner(s *Shared, owner string) mailbox.Complete {
	if i := t.openIndex(s, owner); i >= 0 {
		o := t.owners[i]
		t.owners = append(slices.Delete(t.owners, i, i+1), o)
		return o.account
	}
	t.makeRoom()
	a := s.Open(owner)
	t.owners = append(t.owners, openOwner{s, owner, a})
	return a
}

// openIndex is the place of an owner's Account in owners, -1 if it is not open.
func (t *Tree) openIndex(s *Shared, owner string) int {
	return slices.IndexFunc(t.owners, func(o openOwner) bool { return o.namespace == s && o.owner == owner })
}

// makeRoom closes the account that was not used for longest, if there are too
// many. That of the open mailbox stays.
func (t *Tree) makeRoom() {
	if len(t.owners) < maxOwners {
		return
	}
	i := 0
	if t.owners[i].account == t.selected {
		i = 1
	}
	if err := t.owners[i].account.Close(); err != nil {
		t.log().Warn("close account", "owner", t.owners[i].owner, "error", err)
	}
	t.owners = slices.Delete(t.owners, i, i+1)
}

// Namespaces is RFC 2342's reply.
func (t *Tree) Namespaces() mailbox.NamespaceList {
	list := mailbox.NamespaceList{Personal: []string{""}}
	for _, s := range t.cfg.Shared {
		switch {
		case s.Hidden:
		case s.Public:
			list.Shared = append(list.Shared, s.Root)
		default:
			list.Others = append(list.Others, s.Root)
		}
	}
	return list
}

// Status passes on.
func (t *Tree) Status(ctx context.Context, name string, items imap.StatusItems) (imap.Status, error) {
	p, err := t.find(name)
	if err != nil {
		return imap.Status{}, err
	}
	return p.account.Status(ctx, p.name, items)
}

// Create passes on; a namespace's root and an owner's node are not made.
func (t *Tree) Create(ctx context.Context, name string, use ...imap.Attr) error {
	p, err := t.find(name)
	if err != nil {
		return imap.NoPermission()
	}
	err = p.account.Create(ctx, p.name, use...)
	if p.account != t.cfg.Own && imap.CodeOf(err) == imap.CodeNonExistent {
		return imap.NoPermission() // as where the owner exists
	}
	return err
}

// Delete passes on.
func (t *Tree) Delete(ctx context.Context, name string) error {
	p, err := t.find(name)
	if err != nil {
		return err
	}
	return p.account.Delete(ctx, p.name)
}

// Rename works within one account only.
func (t *Tree) Rename(ctx context.Context, from, to string) error {
	src, err := t.find(from)
	if err != nil {
		return err
	}
	dst, err := t.find(to)
	if err != nil {
		return imap.NoPermission()
	}
	if src.account != dst.account {
		return t.refuseRename(ctx, src)
	}
	return src.account.Rename(ctx, src.name, dst.name)
}

// refuseRename tells of a mailbox only who may know of it.
func (t *Tree) refuseRename(ctx context.Context, src place) error {
	if err := canLookup(ctx, src); err != nil {
		return err
	}
	return imap.Errorf(imap.CodeCannot, "A mailbox can't be renamed into another user's mail")
}

// Append passes on.
func (t *Tree) Append(ctx context.Context, name string, next mailbox.NextMessage) (imap.AppendData, error) {
	p, err := t.find(name)
	if err != nil {
		return imap.AppendData{}, tryCreate(err)
	}
	return p.account.Append(ctx, p.name, next)
}

func tryCreate(err error) error {
	if imap.CodeOf(err) == imap.CodeNonExistent {
		return imap.NoMailboxTryCreate()
	}
	return err
}

// Open passes on, and teaches the mailbox to copy into other accounts.
func (t *Tree) Open(ctx context.Context, name string, readOnly bool) (mailbox.Mailbox, error) {
	t.finishMoves(ctx, name, nil) // which may close accounts
	p, err := t.find(name)
	if err != nil {
		return nil, err
	}
	m, err := p.account.Open(ctx, p.name, readOnly)
	if err != nil {
		return nil, err
	}
	t.selected = p.account
	return &selected{Mailbox: m, tree: t, at: p, name: name, readOnly: readOnly}, nil
}

// Close closes the accounts of others, then one's own.
func (t *Tree) Close() error {
	if t.cfg.Closed != nil {
		defer t.cfg.Closed()
	}
	var errs []error
	for _, o := range t.owners {
		errs = append(errs, o.account.Close())
	}
	return errors.Join(append(errs, t.cfg.Own.Close())...)
}

var (
	_ mailbox.Complete   = (*Tree)(nil)
	_ mailbox.Namespaces = (*Tree)(nil)
)
