package mailboxmem

import (
	"context"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// SetQuota bounds the mail. It is called before there are sessions.
func (m *Mail) SetQuota(p *mailbox.QuotaPolicy) { m.quota = p }

// usage is what counts to the quota.
func (m *Mail) usage() (u mailbox.QuotaUsage) {
	for name, b := range m.boxes {
		if !m.quota.Counts(name) {
			continue
		}
		for _, msg := range b.messages {
			u.Add(uint64(len(msg.body)))
		}
	}
	return u
}

// admit refuses messages that the quota has no room for.
func (m *Mail) admit(name string, messages []*msg) error {
	if m.quota == nil {
		return nil
	}
	used := m.usage()
	for _, msg := range messages {
		if err := m.quota.Admit(&used, name, uint64(len(msg.body))); err != nil {
			return err
		}
	}
	return nil
}

func (a *account) quotaName() string {
	if a.acting == a.mail.owner {
		return a.mail.quota.Root
	}
	return "another's"
}

func (a *account) QuotaOf(_ context.Context, name string) (imap.Quota, bool, error) {
	defer a.lock()()
	p := a.mail.quota
	switch {
	case a.mail.boxes[name] == nil:
		return imap.Quota{}, false, imap.NoMailbox()
	case p == nil || p.Hidden || !p.Counts(name):
		return imap.Quota{}, false, nil
	}
	return p.Show(a.quotaName(), a.mail.usage()), true, nil
}

func (a *account) QuotaRoot(_ context.Context, root string) (imap.Quota, error) {
	defer a.lock()()
	p := a.mail.quota
	if p == nil || p.Hidden || root != a.quotaName() {
		return imap.Quota{}, mailbox.NoQuotaRoot()
	}
	return p.Show(root, a.mail.usage()), nil
}
