package moving

import (
	"context"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// veil is another owner's mail that does not tell by the time what it does not tell in words.
type veil struct {
	Home
	least time.Duration
}

// Veil is home, in which it takes a multiple of least to be answered that there is no such
// mailbox: whether there is an owner, where the mail is and who has it open make differences of
// less. What is refused to those who may know of the mailbox, and what is done, does not wait.
func Veil(home Home, least time.Duration) Home { return &veil{home, least} }

// hides says that an error is that of a mailbox which does not exist.
func hides(err error) bool {
	code := imap.CodeOf(err)
	return code == imap.CodeNonExistent || code == imap.CodeTryCreate
}

// evenly runs a command.
func (v *veil) evenly(ctx context.Context, f func() error) error {
	begun := time.Now()
	err := f()
	if hides(err) {
		v.wait(ctx, begun)
	}
	return err
}

// wait ends when a multiple of least has passed, or with ctx.
func (v *veil) wait(ctx context.Context, begun time.Time) {
	if v.least <= 0 {
		return
	}
	timer := time.NewTimer(v.least - time.Since(begun)%v.least)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// seen is evenly for a command with an answer.
func seen[T any](ctx context.Context, v *veil, f func() (T, error)) (answer T, err error) {
	err = v.evenly(ctx, func() (err error) {
		answer, err = f()
		return err
	})
	return answer, err
}

// Status passes on.
func (v *veil) Status(ctx context.Context, name string, items imap.StatusItems) (imap.Status, error) {
	return seen(ctx, v, func() (imap.Status, error) { return v.Home.Status(ctx, name, items) })
}

// Open passes on.
func (v *veil) Open(ctx context.Context, name string, readOnly bool) (mailbox.Mailbox, error) {
	return seen(ctx, v, func() (mailbox.Mailbox, error) { return v.Home.Open(ctx, name, readOnly) })
}

// Create passes on. Where there is no such owner it is refused like where it is not allowed, so
// no refusal tells by its code which one it is.
func (v *veil) Create(ctx context.Context, name string, use ...imap.Attr) error {
	begun := time.Now()
	err := v.Home.Create(ctx, name, use...)
	if err != nil && imap.CodeOf(err) != imap.CodeUnavailable {
		v.wait(ctx, begun)
	}
	return err
}

// Delete passes on.
func (v *veil) Delete(ctx context.Context, name string) error {
	return v.evenly(ctx, func() error { return v.Home.Delete(ctx, name) })
}

// Rename passes on.
func (v *veil) Rename(ctx context.Context, from, to string) error {
	return v.evenly(ctx, func() error { return v.Home.Rename(ctx, from, to) })
}

// Append passes on.
func (v *veil) Append(ctx context.Context, name string, next mailbox.NextMessage) (imap.AppendData, error) {
	return seen(ctx, v, func() (imap.AppendData, error) { return v.Home.Append(ctx, name, next) })
}

// MyRights passes on.
func (v *veil) MyRights(ctx context.Context, name string) (imap.Rights, error) {
	return seen(ctx, v, func() (imap.Rights, error) { return v.Home.MyRights(ctx, name) })
}

// GetACL passes on.
func (v *veil) GetACL(ctx context.Context, name string) ([]imap.ACLEntry, error) {
	return seen(ctx, v, func() ([]imap.ACLEntry, error) { return v.Home.GetACL(ctx, name) })
}

// SetACL passes on.
func (v *veil) SetACL(ctx context.Context, name, identifier string, change imap.ACLChange, rights imap.Rights) error {
	return v.evenly(ctx, func() error { return v.Home.SetACL(ctx, name, identifier, change, rights) })
}

// DeleteACL passes on.
func (v *veil) DeleteACL(ctx context.Context, name, identifier string) error {
	return v.evenly(ctx, func() error { return v.Home.DeleteACL(ctx, name, identifier) })
}

// ListRights passes on.
func (v *veil) ListRights(ctx context.Context, name, identifier string) (imap.GrantableRights, error) {
	return seen(ctx, v, func() (imap.GrantableRights, error) { return v.Home.ListRights(ctx, name, identifier) })
}

// GetMetadata passes on.
func (v *veil) GetMetadata(ctx context.Context, name string, q *imap.MetadataQuery) (imap.MetadataFound, error) {
	return seen(ctx, v, func() (imap.MetadataFound, error) { return v.Home.GetMetadata(ctx, name, q) })
}

// SetMetadata passes on.
func (v *veil) SetMetadata(ctx context.Context, name string, entries []imap.MetadataEntry) error {
	return v.evenly(ctx, func() error { return v.Home.SetMetadata(ctx, name, entries) })
}

// QuotaOf passes on.
func (v *veil) QuotaOf(ctx context.Context, name string) (root imap.Quota, ok bool, err error) {
	err = v.evenly(ctx, func() (err error) {
		root, ok, err = v.Home.QuotaOf(ctx, name)
		return err
	})
	return root, ok, err
}

// Observe passes on. Of an owner who shows something it is known that there is one; that
// there is another is not told by how long it takes.
func (v *veil) Observe(ctx context.Context, below []string, notify func()) (stop func(), err error) {
	begun := time.Now()
	stop, err = v.Home.Observe(ctx, below, notify)
	if err == nil && v.shows(ctx) {
		return stop, nil
	}
	v.wait(ctx, begun)
	return stop, err
}

// shows says whether anything is seen of what is observed.
func (v *veil) shows(ctx context.Context) bool {
	glances, err := v.Home.Overview(ctx)
	return err == nil && len(glances) > 0
}
