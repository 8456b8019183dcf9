// Package moving is another owner's mail, wherever it is at the moment: in this
// process while this backend holds the owner, at another backend when not.
//
// An Account asks at every command whether the owner is held here. In between,
// the mail may have left: the command that finds it gone fails with UNAVAILABLE, the
// next one goes to where it is now. A mailbox that is open goes along: what
// changed on the way is found by comparing, and told by Sync. It comes back to this
// process when it is opened anew. What a client sees is the same in both places.
package moving

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Home is an owner's mail with the acting user's rights, in one of the places.
type Home = mailbox.Complete

// Config says where the mail can be.
type Config struct {
	Owner string
	Log   *slog.Logger

	// Here says whether this backend holds the owner. It is asked often, and does
	// not wait.
	Here func() bool

	// Open opens the mail in this process. If that fails it is looked for elsewhere.
	Open func(ctx context.Context) (Home, error)

	// Elsewhere is the mail at whichever backend holds it. It does not wait: what
	// can't be reached answers so at its first use.
	Elsewhere func() Home

	// Arrived is an error of the mail in this process in the words in which it would
	// have come from elsewhere.
	Arrived func(error) error
}

// Account is an owner's mail. Like every Account it is for one goroutine at a time.
type Account struct {
	cfg         Config
	here        *local    // nil while it is not open in this process
	away        Home      // nil until it is needed
	retryAt     time.Time // it could not be opened here, and is not tried before
	observation *observation
}

var (
	_ Home               = (*Account)(nil)
	_ mailbox.Mailbox    = (*box)(nil)
	_ mailbox.Prefetcher = (*box)(nil)
)

// New makes an Account. It opens nothing yet.
func New(cfg Config) *Account { return &Account{cfg: cfg} }

// local is mail in this process, which is closed when the account and all
// mailboxes that use it are done with it.
type local struct {
	Home
	mu   sync.Mutex
	uses int
}

// Reopen passes on.
func (l *local) Reopen(ctx context.Context, name string, readOnly bool, id imap.ObjectID) (mailbox.Mailbox, error) {
	return mailbox.Reopen(ctx, l.Home, name, readOnly, id)
}

func (l *local) use() *local {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.uses++
	return l
}

// done gives up one use.
func (l *local) done() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	l.uses--
	last := l.uses == 0
	l.mu.Unlock()
	if !last {
		return nil
	}
	return l.Home.Close()
}

// home is the mail where it is now; here is nil if that is elsewhere.
func (a *Account) home(ctx context.Context) (home Home, here *local) {
	if !a.cfg.Here() {
		a.leave()
		return a.elsewhere(), nil
	}
	if a.here == nil {
		if time.Now().Before(a.retryAt) {
			return a.elsewhere(), nil
		}
		opened, err := a.cfg.Open(ctx)
		if err != nil {
			a.retryAt = time.Now().Add(openPause)
			a.cfg.Log.Debug("mail can't be opened in this process and is looked for elsewhere", "owner", a.cfg.Owner, "error", err)
			return a.elsewhere(), nil
		}
		a.here = (&local{Home: opened}).use()
	}
	return a.here, a.here
}

func (a *Account) elsewhere() Home {
	if a.away == nil {
		a.away = a.cfg.Elsewhere()
	}
	return a.away
}

// leave gives up the mail in this process.
func (a *Account) leave() {
	if err := a.here.done(); err != nil {
		a.cfg.Log.Warn("close account", "owner", a.cfg.Owner, "error", err)
	}
	a.here = nil
}

// openPause is how long mail that could not be opened here is looked for elsewhere.
const openPause = 30 * time.Second

// isLost says that an error may come from mail that has left this process.
func isLost(err error) bool { return imap.CodeOf(err) == imap.CodeUnavailable }

// do runs a command.
func (a *Account) do(ctx context.Context, f func(Home) error) error {
	home, here := a.home(ctx)
	err := f(home)
	if here == nil {
		return err
	}
	if isLost(err) {
		a.leave()
	}
	return a.cfg.Arrived(err)
}

// get is do for a command with an answer.
func get[T any](ctx context.Context, a *Account, f func(Home) (T, error)) (answer T, err error) {
	err = a.do(ctx, func(h Home) (err error) {
		answer, err = f(h)
		return err
	})
	return answer, err
}

// Close closes the mail wherever it is open. Mailboxes that are still open keep theirs.
func (a *Account) Close() error {
	err := a.here.done()
	a.here = nil
	if a.away != nil {
		err = errors.Join(err, a.away.Close())
	}
	return err
}

// List passes on.
func (a *Account) List(ctx context.Context, patterns []string) ([]mailbox.ListEntry, error) {
	return get(ctx, a, func(h Home) ([]mailbox.ListEntry, error) { return h.List(ctx, patterns) })
}

// Subscriptions passes on.
func (a *Account) Subscriptions(ctx context.Context) ([]string, error) {
	return get(ctx, a, func(h Home) ([]string, error) { return h.Subscriptions(ctx) })
}

// SetSubscribed passes on.
func (a *Account) SetSubscribed(ctx context.Context, name string, subscribed bool) error {
	return a.do(ctx, func(h Home) error { return h.SetSubscribed(ctx, name, subscribed) })
}

// Status passes on.
func (a *Account) Status(ctx context.Context, name string, items imap.StatusItems) (imap.Status, error) {
	return get(ctx, a, func(h Home) (imap.Status, error) { return h.Status(ctx, name, items) })
}

// Statuses passes on.
func (a *Account) Statuses(ctx context.Context, names []string, items imap.StatusItems, emit func(string, imap.Status, error)) {
	home, here := a.home(ctx)
	lost := false
	home.Statuses(ctx, names, items, func(name string, s imap.Status, err error) {
		if here != nil {
			lost = lost || isLost(err)
			err = a.cfg.Arrived(err)
		}
		emit(name, s, err)
	})
	if lost {
		a.leave()
	}
}

// Create passes on.
func (a *Account) Create(ctx context.Context, name string, use ...imap.Attr) error {
	return a.do(ctx, func(h Home) error { return h.Create(ctx, name, use...) })
}

// Delete passes on.
func (a *Account) Delete(ctx context.Context, name string) error {
	return a.do(ctx, func(h Home) error { return h.Delete(ctx, name) })
}

// Rename passes on.
func (a *Account) Rename(ctx context.Context, from, to string) error {
	return a.do(ctx, func(h Home) error { return h.Rename(ctx, from, to) })
}

// Append passes on. An error of next stays as it is.
func (a *Account) Append(ctx context.Context, name string, next mailbox.NextMessage) (data imap.AppendData, err error) {
	var own error
	err = a.do(ctx, func(h Home) (err error) {
		data, err = h.Append(ctx, name, func() (*mailbox.NewMessage, error) {
			m, err := next()
			if err != nil && !mailbox.AtEnd(err) {
				own = err
			}
			return m, err
		})
		return err
	})
	if err != nil && own != nil {
		err = own
	}
	return data, err
}

// MyRights passes on.
func (a *Account) MyRights(ctx context.Context, name string) (imap.Rights, error) {
	return get(ctx, a, func(h Home) (imap.Rights, error) { return h.MyRights(ctx, name) })
}

// GetACL passes on.
func (a *Account) GetACL(ctx context.Context, name string) ([]imap.ACLEntry, error) {
	return get(ctx, a, func(h Home) ([]imap.ACLEntry, error) { return h.GetACL(ctx, name) })
}

// SetACL passes on.
func (a *Account) SetACL(ctx context.Context, name, identifier string, change imap.ACLChange, rights imap.Rights) error {
	return a.do(ctx, func(h Home) error { return h.SetACL(ctx, name, identifier, change, rights) })
}

// DeleteACL passes on.
func (a *Account) DeleteACL(ctx context.Context, name, identifier string) error {
	return a.do(ctx, func(h Home) error { return h.DeleteACL(ctx, name, identifier) })
}

// ListRights passes on.
func (a *Account) ListRights(ctx context.Context, name, identifier string) (imap.GrantableRights, error) {
	return get(ctx, a, func(h Home) (imap.GrantableRights, error) { return h.ListRights(ctx, name, identifier) })
}

// GetMetadata passes on.
func (a *Account) GetMetadata(ctx context.Context, name string, q *imap.MetadataQuery) (imap.MetadataFound, error) {
	return get(ctx, a, func(h Home) (imap.MetadataFound, error) { return h.GetMetadata(ctx, name, q) })
}

// SetMetadata passes on.
func (a *Account) SetMetadata(ctx context.Context, name string, entries []imap.MetadataEntry) error {
	return a.do(ctx, func(h Home) error { return h.SetMetadata(ctx, name, entries) })
}

// QuotaOf passes on.
func (a *Account) QuotaOf(ctx context.Context, name string) (root imap.Quota, ok bool, err error) {
	err = a.do(ctx, func(h Home) (err error) {
		root, ok, err = h.QuotaOf(ctx, name)
		return err
	})
	return root, ok, err
}

// QuotaRoot passes on.
func (a *Account) QuotaRoot(ctx context.Context, root string) (imap.Quota, error) {
	return get(ctx, a, func(h Home) (imap.Quota, error) { return h.QuotaRoot(ctx, root) })
}
