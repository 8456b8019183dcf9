package mailboxmem

import (
	"cmp"
	"context"
	"slices"

	"github.com/roost-mail/roost/mailbox"
)

var _ mailbox.Observer = (*account)(nil)

func (a *account) Observe(_ context.Context, _ []string, notify func()) (stop func(), err error) {
	defer a.lock()()
	a.mail.observers[a] = notify
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

// changed tells the observers.
func (m *Mail) changed() {
	for _, notify := range m.observers {
		notify()
	}
}
