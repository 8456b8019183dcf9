package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// usage is what counts to a quota: the sums of all mailboxes that it does not
// leave out.
func (s *state) usage(p *mailbox.QuotaPolicy) (u mailbox.QuotaUsage) {
	for _, b := range s.boxes {
		if len(p.Rules) == 0 || p.Counts(b.name) {
			u.Storage += b.sums.size
			u.Messages += uint64(b.messages)
		}
	}
	return u
}

// usage is that of the state and of what the group delivers before this transaction.
func (b *builder) usage(p *mailbox.QuotaPolicy) mailbox.QuotaUsage {
	u := b.st.usage(p)
	for m := range b.delivered() {
		if box := b.st.boxes[m.box]; box != nil && p.Counts(box.name) {
			u.Add(uint64(m.size))
		}
	}
	return u
}

// admit refuses messages of the given sizes if they are more than v's quota has room for.
func (b *builder) admit(v view, name string, sizes []uint64) error {
	if v.quota == nil {
		return nil
	}
	used := b.usage(v.quota)
	for _, size := range sizes {
		if err := v.quota.Admit(&used, name, size); err != nil {
			return err
		}
	}
	return nil
}

// quotaRoom refuses a message before its body is taken in, behind others of the
// same command.
func (s *Session) quotaRoom(to *box, received []incoming, size int64) error {
	if s.view.quota == nil {
		return nil
	}
	s.mu.RLock()
	used, name := s.st.usage(s.view.quota), to.name
	s.mu.RUnlock()
	for i := range received {
		used.Add(uint64(received[i].size))
	}
	return s.view.quota.Admit(&used, name, uint64(max(size, 0)))
}

// quotaName is the name of the root for who looks.
func (s *Session) quotaName() string {
	if s.view.owner {
		return s.view.quota.Root
	}
	sum := sha256.Sum256(append([]byte("quota root of "), s.id[:]...))
	return hex.EncodeToString(sum[:16])
}

// QuotaOf implements mailbox.Quota.
func (s *Session) QuotaOf(_ context.Context, name string) (imap.Quota, bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if _, err := s.named(name); err != nil {
		return imap.Quota{}, false, err
	}
	p := s.view.quota
	if p == nil || p.Hidden || !p.Counts(name) {
		return imap.Quota{}, false, nil
	}
	return p.Show(s.quotaName(), s.st.usage(p)), true, nil
}

// QuotaRoot implements mailbox.Quota.
func (s *Session) QuotaRoot(_ context.Context, root string) (imap.Quota, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p := s.view.quota
	if p == nil || p.Hidden || root != s.quotaName() {
		return imap.Quota{}, mailbox.NoQuotaRoot()
	}
	return p.Show(root, s.st.usage(p)), s.usable()
}

// admitCopies refuses copies that the quota has no room for. What is moved
// within the account counts already, if it did where it was.
func (b *builder) admitCopies(h *handle, to *box, rows []row, move bool) error {
	p := h.view.quota
	if p == nil || move && p.Counts(h.box.name) {
		return nil
	}
	sizes := make([]uint64, len(rows))
	for i := range rows {
		sizes[i] = uint64(rows[i].size)
	}
	return b.admit(h.view, to.name, sizes)
}

// Usage is what counts to a quota in the account in dir. It changes nothing, and
// the account may be in use meanwhile.
func Usage(dir string, p *mailbox.QuotaPolicy) (mailbox.QuotaUsage, error) {
	a, l, _, err := inspect(OS{}, dir)
	if err != nil {
		return mailbox.QuotaUsage{}, err
	}
	defer l.close()
	l.apply(a, nil)
	return a.st.usage(p), nil
}
