package mailboxmem

import (
	"cmp"
	"context"
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

var _ mailbox.Observer = (*account)(nil)

func (a *account) Observe(_ context.Context, _ []string, notify func()) (stop func(), err error) {
	defer a.lock()()
	a.mail.observers[a] = &observer{notify: notify}
	return func() {
		defer a.lock()()
		delete(a.mail.observers, a)
	}, nil
}

func (a *account) Overview(ctx context.Context) ([]mailbox.Glance, error) {
	unlock := a.lock()
	var all []mailbox.Glance
	if a.mail.observers[a] != nil {
		for name := range a.mail.boxes {
			all = append(all, mailbox.Glance{Name: name, Readable: true})
		}
	}
	unlock()
	for i := range all {
		var err error
		if all[i].Status, err = a.Status(ctx, all[i].Name, 0); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b mailbox.Glance) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// MetadataChanges implements mailbox.Observer.
func (a *account) MetadataChanges(context.Context) ([]mailbox.MetadataChange, error) {
	defer a.lock()()
	o := a.mail.observers[a]
	if o == nil {
		return nil, nil
	}
	return o.metadata.Take(func(b *box) (string, bool) {
		if b == nil {
			return "", true
		}
		return b.name, !b.gone
	})
}

// observer is an account that hears of every change. Mail.mu guards it.
type observer struct {
	notify   func()
	metadata mailbox.MetadataLog[*box] // nil is the account itself
}

// changed tells the observers.
func (m *Mail) changed() {
	for _, o := range m.observers {
		o.notify()
	}
}

// changedMetadata has those observers know who may see it.
func (m *Mail) changedMetadata(acting string, b *box, entries []imap.MetadataEntry) {
	for a, o := range m.observers {
		for _, e := range entries {
			if !imap.MetadataIsPrivate(e.Name) || a.acting == acting {
				o.metadata.Add(b, e.Name)
			}
		}
	}
	m.changed()
}
