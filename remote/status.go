package remote

import (
	"context"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/mailbox"
)

// statusItem is a data item of STATUS, and the capabilities of which any offers it.
type statusItem struct {
	name  string
	item  imap.StatusItems
	needs []string
}

func statusItems() []statusItem {
	return []statusItem{
		{"MESSAGES", imap.StatusMessages, nil},
		{"RECENT", imap.StatusRecent, nil},
		{"UIDNEXT", imap.StatusUIDNext, nil},
		{"UIDVALIDITY", imap.StatusUIDValidity, nil},
		{"UNSEEN", imap.StatusUnseen, nil},
		{"HIGHESTMODSEQ", imap.StatusHighestModSeq, []string{"CONDSTORE", "QRESYNC"}},
		{"SIZE", imap.StatusSize, []string{"STATUS=SIZE", "IMAP4rev2"}},
		{"DELETED", imap.StatusDeleted, []string{"QUOTA=RES-MESSAGE", "IMAP4rev2"}},
		{"DELETED-STORAGE", imap.StatusDeletedStorage, []string{"QUOTA=RES-STORAGE"}},
	}
}

// measured are the items that can be worked out from the messages, for a peer
// that does not count them.
const measured = imap.StatusSize | imap.StatusDeleted | imap.StatusDeletedStorage

// offered parts items into those that the peer tells and those that it does not.
func offered(c *imapclient.Conn, items imap.StatusItems) (ask, rest imap.StatusItems) {
	for _, i := range statusItems() {
		if items&i.item == 0 {
			continue
		}
		has := len(i.needs) == 0
		for _, capability := range i.needs {
			has = has || c.Has(capability)
		}
		if has {
			ask |= i.item
		} else {
			rest |= i.item
		}
	}
	if ask == 0 {
		ask = imap.StatusMessages // whether there is such a mailbox
	}
	return ask, rest
}

// writeStatusItems appends the list of items.
func writeStatusItems(e *imapwire.Encoder, items imap.StatusItems) {
	sep := byte('(')
	for _, i := range statusItems() {
		if items&i.item != 0 {
			e.Special(sep).RawString(i.name)
			sep = ' '
		}
	}
	e.Special(')')
}

// Status leaves HIGHESTMODSEQ at 0 if the peer has none. Sizes that it does not
// tell are added up from its messages.
func (a *Account) Status(ctx context.Context, name string, items imap.StatusItems) (imap.Status, error) {
	var status imap.Status
	var rest imap.StatusItems
	h := &imapclient.Handler{MailboxStatus: func(s *imapclient.StatusData) { status = s.Status }}
	err := a.named(ctx, h, "STATUS", name, imap.CodeNonExistent, func(e *imapwire.Encoder) {
		var ask imap.StatusItems
		ask, rest = offered(a.control.conn, items)
		writeStatusItems(e.SP(), ask)
	})
	if err == nil && rest&measured != 0 {
		err = a.measure(ctx, name, &status)
	}
	return status, err
}

// measure adds up the sizes of all messages.
func (a *Account) measure(ctx context.Context, name string, status *imap.Status) error {
	box, err := a.Open(ctx, name, true)
	if err != nil {
		return err
	}
	defer box.Close()
	status.Size, status.Deleted, status.DeletedStorage = 0, 0, 0
	return box.Fetch(ctx, box.Info().UIDs, &imap.FetchItems{Flags: true, Size: true}, func(m *mailbox.Message) error {
		status.Size += uint64(m.Size)
		if imap.HasFlag(m.Flags, imap.FlagDeleted) {
			status.Deleted++
			status.DeletedStorage += uint64(m.Size)
		}
		return nil
	})
}
