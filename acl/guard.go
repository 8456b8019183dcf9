package acl

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Home is what a Guard can stand before.
type Home interface {
	mailbox.Account
	mailbox.EntryKeeper
	mailbox.Metadata
	mailbox.Quota
	mailbox.Observer
}

// Options say how rights are judged and granted on this server.
type Options struct {
	Rules Rules

	// AllowAnyone lets SETACL name anyone and authenticated.
	AllowAnyone bool

	// Refused, if set, counts what was refused for lack of a right.
	Refused *atomic.Int64

	// Audit, if set, hears of what was done and what was refused, also to the owner. It
	// must not wait.
	Audit func(Event)

	// Normalize brings a user's name into its one form.
	Normalize func(string) string

	// Groups, if set, are those of the acting user, as they are at each command, in place
	// of the Identity's.
	Groups mailbox.Membership

	// Closed, if set, is called when the Guard is closed, once.
	Closed func()
}

// Guard is an Account that lets the acting user do what the ACL allows, and
// nothing else. It asks at every command, so a change of rights bites at once,
// also in a mailbox that is open.
type Guard struct {
	home          Home
	owner, acting string
	opts          Options // Groups are never nil
}

// NewGuard stands before home, which it closes when it is closed itself.
func NewGuard(home Home, who Identity, opts Options) *Guard {
	if opts.Normalize == nil {
		opts.Normalize = func(s string) string { return s }
	}
	if opts.Groups == nil {
		opts.Groups = fixedGroups(who.Groups)
	}
	return &Guard{home: home, owner: who.Owner, acting: who.Acting, opts: opts}
}

// fixedGroups are a Membership that does not change.
type fixedGroups []string

func (g fixedGroups) Groups() []string                { return g }
func (fixedGroups) Watch(notify func()) (stop func()) { return func() {} }

func (g *Guard) who() Identity {
	return Identity{Owner: g.owner, Acting: g.acting, Groups: g.opts.Groups.Groups()}
}

func (g *Guard) isOwner() bool { return g.acting == g.owner }

// rights are the acting user's on a mailbox that exists, else NONEXISTENT.
func (g *Guard) rights(ctx context.Context, name string) (imap.Rights, error) {
	standing, err := g.home.Standing(ctx, name)
	if err != nil {
		return 0, err
	}
	return g.judge(standing), nil
}

func (g *Guard) judge(s mailbox.Standing) imap.Rights {
	return Rights(g.opts.Rules.Entries(s), g.who())
}

// need is nil if the acting user has the right; otherwise it is NOPERM where
// the mailbox may be known, and where it may not the same as if it were missing.
func (g *Guard) need(ctx context.Context, name string, want imap.Rights) error {
	have, err := g.rights(ctx, name)
	if err != nil {
		return err
	}
	return g.refusal(have, want)
}

func (g *Guard) refusal(have, want imap.Rights) error {
	if have.Has(want) {
		return nil
	}
	err := g.noPermission()
	if !have.Has(imap.RightLookup) {
		err = imap.NoMailbox()
	}
	return err
}

// noPermission is a refusal, which it counts, to who may know of the mailbox.
func (g *Guard) noPermission() error {
	if g.opts.Refused != nil {
		g.opts.Refused.Add(1)
	}
	return imap.NoPermission()
}

// needInsert is need for a mailbox that is to take mail: TRYCREATE if it is missing.
func (g *Guard) needInsert(ctx context.Context, name string) (imap.Rights, error) {
	have, err := g.rights(ctx, name)
	if err == nil {
		err = g.refusal(have, imap.RightInsert)
	}
	if imap.CodeOf(err) == imap.CodeNonExistent {
		err = imap.NoMailboxTryCreate()
	}
	return have, err
}

// List shows the mailboxes on which the acting user has l.
func (g *Guard) List(ctx context.Context, patterns []string) ([]mailbox.ListEntry, error) {
	names, err := g.home.Mailboxes(ctx)
	if err != nil {
		return nil, err
	}
	uses, err := g.home.Uses(ctx)
	if err != nil {
		return nil, err
	}
	visible := make([]mailbox.ListEntry, 0, len(names))
	for _, name := range names {
		have, err := g.rights(ctx, name)
		if err != nil && imap.CodeOf(err) != imap.CodeNonExistent {
			return nil, err
		}
		if have.Has(imap.RightLookup) {
			visible = append(visible, mailbox.ListEntry{Name: name, Attrs: uses[name], Rights: have})
		}
	}
	return mailbox.Select(visible, patterns), nil
}

// Subscriptions are the owner's own affair: another acting user has none here.
func (g *Guard) Subscriptions(ctx context.Context) ([]string, error) {
	if !g.isOwner() {
		return nil, nil
	}
	return g.home.Subscriptions(ctx)
}

// SetSubscribed changes the owner's list only when the owner asks.
func (g *Guard) SetSubscribed(ctx context.Context, name string, subscribed bool) error {
	if !g.isOwner() {
		return imap.Errorf(imap.CodeNoPerm, "Subscriptions belong to the mailboxes' owner")
	}
	return g.home.SetSubscribed(ctx, name, subscribed)
}

// Status needs r.
func (g *Guard) Status(ctx context.Context, name string, items imap.StatusItems) (imap.Status, error) {
	if err := g.need(ctx, name, imap.RightRead); err != nil {
		return imap.Status{}, err
	}
	return g.home.Status(ctx, name, items)
}

// Statuses needs r on each.
func (g *Guard) Statuses(ctx context.Context, names []string, items imap.StatusItems, emit func(string, imap.Status, error)) {
	allowed := make([]string, 0, len(names))
	for _, name := range names {
		if err := g.need(ctx, name, imap.RightRead); err != nil {
			emit(name, imap.Status{}, err)
			continue
		}
		allowed = append(allowed, name)
	}
	g.home.Statuses(ctx, allowed, items, emit)
}

// writing is any right that makes SELECT answer READ-WRITE (RFC 4314 section 5.2).
const writing = imap.RightWrite | imap.RightSeen | imap.RightDeleted | imap.RightExpunge | imap.RightInsert

// errNoEntries: by its name an open mailbox can't be judged, for that may be
// another's by now.
var errNoEntries = errors.New("home opens mailboxes that do not know their ACL")

// Open needs r; without a right to change messages the mailbox is read-only for
// as long as that is so.
func (g *Guard) Open(ctx context.Context, name string, readOnly bool) (mailbox.Mailbox, error) {
	m, err := g.open(ctx, name, readOnly)
	g.tell(Event{What: opening(readOnly), Mailbox: name}, err)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Reopen implements mailbox.Reopener: that there is such a mailbox, who had it open knows.
func (g *Guard) Reopen(ctx context.Context, name string, readOnly bool, id imap.ObjectID) (mailbox.Mailbox, error) {
	m, err := g.Open(ctx, name, readOnly)
	if imap.CodeOf(err) == imap.CodeNonExistent {
		if s, statusErr := g.home.Status(ctx, name, imap.StatusMailboxID); statusErr == nil && s.MailboxID == id {
			return nil, imap.NoPermission()
		}
	}
	return m, err
}

func (g *Guard) open(ctx context.Context, name string, readOnly bool) (*guarded, error) {
	have, err := g.rights(ctx, name)
	if err == nil {
		err = g.refusal(have, imap.RightRead)
	}
	if err != nil {
		return nil, err
	}
	m, err := g.home.Open(ctx, name, readOnly)
	if err != nil {
		return nil, err
	}
	entries, ok := m.(mailbox.EntryHolder)
	if !ok {
		return nil, errors.Join(errNoEntries, m.Close())
	}
	return &guarded{Mailbox: m, entries: entries, guard: g, readOnly: readOnly, told: have}, nil
}

// Create needs k on the nearest existing level above; at the top only the
// owner creates. Whether a hidden mailbox is in the way is not told.
func (g *Guard) Create(ctx context.Context, name string, use ...imap.Attr) error {
	e := Event{What: Create, Mailbox: name}
	err := g.create(ctx, name, use)
	if err == nil {
		e.become(nil, g.local(ctx, name))
		e.Shared = g.others(e.After)
	}
	g.tell(e, err)
	return err
}

func (g *Guard) create(ctx context.Context, name string, use []imap.Attr) error {
	if err := g.needCreate(ctx, name); err != nil {
		return err
	}
	if len(use) > 0 && !g.isOwner() {
		return errNotOwners()
	}
	return g.hideTaken(ctx, name, g.home.Create(ctx, name, use...))
}

// hideTaken tells that a name is taken only who may know the mailbox there.
func (g *Guard) hideTaken(ctx context.Context, name string, err error) error {
	if imap.CodeOf(err) != imap.CodeAlreadyExists {
		return err
	}
	if have, _ := g.rights(ctx, name); have.Has(imap.RightLookup) {
		return err
	}
	return imap.NoPermission()
}

func (g *Guard) needCreate(ctx context.Context, name string) error {
	for {
		i := strings.LastIndexByte(name, imap.Delimiter)
		if i < 0 {
			break
		}
		name = name[:i]
		have, err := g.rights(ctx, name)
		if imap.CodeOf(err) == imap.CodeNonExistent {
			continue
		}
		if err != nil {
			return err
		}
		if !have.Has(imap.RightCreate) {
			return g.noPermission()
		}
		return nil
	}
	if !g.isOwner() {
		return g.noPermission()
	}
	return nil
}

// Delete needs x.
func (g *Guard) Delete(ctx context.Context, name string) error {
	e, before := Event{What: Delete, Mailbox: name}, g.local(ctx, name)
	err := g.need(ctx, name, imap.RightDeleteMailbox)
	if err == nil {
		err = g.home.Delete(ctx, name)
	}
	if err == nil {
		e.become(before, nil)
		e.Shared = g.others(before)
	}
	g.tell(e, err)
	return err
}

// Rename needs x on the mailbox and k where it goes.
func (g *Guard) Rename(ctx context.Context, from, to string) error {
	events := g.renaming(ctx, from, to)
	err := g.rename(ctx, from, to)
	g.renamed(ctx, events, err)
	return err
}

func (g *Guard) rename(ctx context.Context, from, to string) error {
	need := imap.RightDeleteMailbox
	if from == imap.Inbox { // its messages move to where others may read them
		need |= imap.RightRead | imap.RightDeleted | imap.RightExpunge
	}
	if err := g.need(ctx, from, need); err != nil {
		return err
	}
	if err := g.needCreate(ctx, to); err != nil {
		return err
	}
	return g.hideTaken(ctx, to, g.home.Rename(ctx, from, to))
}

// Append needs i. Flags that the acting user may not set are left off, and
// without r nothing is told of the message (RFC 4315 section 3).
func (g *Guard) Append(ctx context.Context, name string, next mailbox.NextMessage) (imap.AppendData, error) {
	have, err := g.needInsert(ctx, name)
	var data imap.AppendData
	if err == nil {
		data, err = g.home.Append(ctx, name, g.permitted(ctx, name, next, have.FlagClasses()))
	}
	g.arrival(Append, name, err)
	if err != nil || !have.Has(imap.RightRead) {
		return imap.AppendData{}, err
	}
	return data, nil
}

// permitted leaves off the flags of other classes, and asks again for i when
// all messages have come: clients may take their time.
func (g *Guard) permitted(ctx context.Context, name string, next mailbox.NextMessage, classes imap.FlagClass) mailbox.NextMessage {
	return func() (*mailbox.NewMessage, error) {
		m, err := next()
		if mailbox.AtEnd(err) {
			if _, refused := g.needInsert(ctx, name); refused != nil {
				return nil, refused
			}
		}
		if err != nil {
			return nil, err
		}
		allowed := *m
		allowed.Flags = classes.Only(m.Flags)
		return &allowed, nil
	}
}

// Close closes the home.
func (g *Guard) Close() error {
	if closed := g.opts.Closed; closed != nil {
		g.opts.Closed = nil
		closed()
	}
	return g.home.Close()
}

var _ mailbox.Complete = (*Guard)(nil)
