package mailbox

import (
	"context"
	"math"
	"math/bits"

	"github.com/roost-mail/roost/imap"
)

// Quota is an Account that knows what its owner's mail may take (RFC 9208).
type Quota interface {
	// QuotaOf returns the quota root that mail in a mailbox counts to, if there
	// is one. Who is not the owner sees it under a name that can't be guessed.
	QuotaOf(ctx context.Context, name string) (root imap.Quota, ok bool, err error)

	// QuotaRoot returns a root by the name that QuotaOf gave it; else NONEXISTENT.
	QuotaRoot(ctx context.Context, root string) (imap.Quota, error)
}

// NoQuotaRoot is the answer for a root that does not exist or may not be known.
func NoQuotaRoot() error { return imap.Errorf(imap.CodeNonExistent, "No such quota root") }

// QuotaPolicy says what an owner's mail may take. A home that is given one keeps
// it for whoever brings mail: the owner is charged for it. It is never changed.
type QuotaPolicy struct {
	Root     string // as the owner sees it
	Storage  uint64 // bytes; 0: no limit
	Messages uint64 // 0: no limit

	// Grace is how many bytes the last message may go beyond Storage.
	Grace uint64

	// Rules are the mailboxes for which something else holds.
	Rules []QuotaRule

	MaxMessage int64  // bytes of one message; 0: no limit
	Exceeded   string // what a client is told
	Lax        bool   // nothing is refused
	Hidden     bool   // no client is told of it
}

// QuotaRule says what is different for mail on its way into a mailbox. Its
// limits are for all of the owner's mail, as those of the policy are.
type QuotaRule struct {
	Mailbox  string // a name, or a pattern as in LIST
	Ignore   bool   // what is in it does not count
	Storage  uint64
	Messages uint64
}

// rule is the one for a mailbox, nil without.
func (p *QuotaPolicy) rule(name string) *QuotaRule {
	for i := range p.Rules {
		if imap.MatchPattern(p.Rules[i].Mailbox, name) {
			return &p.Rules[i]
		}
	}
	return nil
}

// Counts reports whether what is in a mailbox counts.
func (p *QuotaPolicy) Counts(name string) bool {
	r := p.rule(name)
	return r == nil || !r.Ignore
}

// limits are those for mail on its way into a mailbox.
func (p *QuotaPolicy) limits(name string) (storage, messages uint64) {
	if r := p.rule(name); r != nil {
		return r.Storage, r.Messages
	}
	return p.Storage, p.Messages
}

// QuotaUsage is how much counts.
type QuotaUsage struct{ Storage, Messages uint64 }

// Add counts a message.
func (u *QuotaUsage) Add(size uint64) {
	u.Storage = addSaturated(u.Storage, size)
	u.Messages = addSaturated(u.Messages, 1)
}

func addSaturated(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	if carry > 0 {
		return math.MaxUint64
	}
	return sum
}

// Admit counts a message that is to go into a mailbox, or refuses it: OVERQUOTA,
// or TOOBIG if no quota could take it.
func (p *QuotaPolicy) Admit(used *QuotaUsage, name string, size uint64) error {
	if p == nil || p.Lax || !p.Counts(name) {
		return nil
	}
	if p.MaxMessage > 0 && size > uint64(p.MaxMessage) {
		return imap.Errorf(imap.CodeTooBig, "Message is too big")
	}
	before := *used
	used.Add(size)
	storage, messages := p.limits(name)
	full := storage > 0 && (before.Storage >= storage || used.Storage > addSaturated(storage, p.Grace))
	if full || messages > 0 && used.Messages > messages {
		text := p.Exceeded
		if text == "" {
			text = "Quota exceeded (mailbox for user is full)"
		}
		return imap.Errorf(imap.CodeOverQuota, "%s", text)
	}
	return nil
}

// Show is the root as clients are told of it.
func (p *QuotaPolicy) Show(root string, used QuotaUsage) imap.Quota {
	return imap.Quota{
		Root:     root,
		Storage:  imap.QuotaResource{Usage: used.Storage, Limit: p.Storage},
		Messages: imap.QuotaResource{Usage: used.Messages, Limit: p.Messages},
	}
}
