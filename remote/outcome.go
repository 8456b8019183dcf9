package remote

import (
	"context"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/mailbox"
)

// arrived looks for messages that were put into a mailbox by a command whose answer
// was lost: they have these EMAILIDs, in this order, and UIDs that the mailbox had not
// given before. If they are not all there, they may still come: it is not known then.
// before is zero if the mailbox may not be read.
func (a *Account) arrived(ctx context.Context, name string, before imap.Status, ids []imap.ObjectID) (uids imap.UIDSet, ok bool) {
	if len(ids) == 0 || before.UIDNext == 0 {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(ctx, resumeTime)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		box, err := a.Open(ctx, name, true)
		if err == nil {
			defer box.Close()
			return inOrder(ctx, box, before, ids)
		}
		if imap.CodeOf(err) != imap.CodeUnavailable {
			return nil, false
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, false
		}
	}
}

func inOrder(ctx context.Context, box mailbox.Mailbox, before imap.Status, ids []imap.ObjectID) (imap.UIDSet, bool) {
	if box.Info().UIDValidity != before.UIDValidity {
		return nil, false
	}
	var uids []imap.UID
	err := box.Fetch(ctx, imap.UIDRange(before.UIDNext, 1<<32-1), &imap.FetchItems{EmailID: true}, func(m *mailbox.Message) error {
		if len(uids) < len(ids) && m.EmailID == ids[len(uids)] {
			uids = append(uids, m.UID)
		}
		return nil
	})
	return imap.UIDSetOf(uids...), err == nil && len(uids) == len(ids)
}

// maxTraced is how many messages a COPY or MOVE may have for it to be found out
// afterwards what became of it.
const maxTraced = 500

// trace is what has to be known before a COPY or MOVE to find that out.
type trace struct {
	before imap.Status // of the destination; zero if it may not be read
	uids   []imap.UID  // of the sources, ascending
	ids    []imap.ObjectID
}

// trace asks for it, which also finds out whether the connection lives. Only of
// Roost it is known that copies have the EMAILID of their source.
func (b *box) trace(ctx context.Context, uids imap.UIDSet, dest string) (t trace, err error) {
	err = b.do(ctx, true, func(c *imapclient.Conn) error {
		peer, err := b.link.toPeer(dest)
		if err != nil {
			return nil // the command says so
		}
		return t.ask(ctx, b, c, uids, peer)
	})
	return t, err
}

func (t *trace) ask(ctx context.Context, b *box, c *imapclient.Conn, uids imap.UIDSet, dest string) error {
	*t = trace{}
	if !c.Has(imapwire.AppendEmailID) || uids.Intersect(b.Info().UIDs).Len() > maxTraced {
		return nil
	}
	fetched := &imapclient.Handler{Fetch: func(m *imapclient.FetchData) error {
		b.event(func(s *state) { s.note(m, false) })
		if m.EmailID != "" && m.Has&imapclient.ItemUID != 0 {
			t.uids, t.ids = append(t.uids, m.UID), append(t.ids, m.EmailID)
		}
		return nil
	}}
	_, err := c.Send(ctx, fetched, func(e *imapwire.Encoder) {
		e.RawString("UID FETCH ").AppendFunc(uids.AppendTo).RawString(" (EMAILID)")
	})
	if err != nil {
		return err
	}
	status := &imapclient.Handler{MailboxStatus: func(d *imapclient.StatusData) { t.before = d.Status }}
	_, err = c.Do(ctx, status, func(e *imapwire.Encoder) {
		e.RawString("STATUS ").Mailbox(dest).RawString(" (UIDVALIDITY UIDNEXT)")
	})
	if c.Broken() == nil {
		return nil // who may not read it may copy into it
	}
	return err
}

// found is what a COPY or MOVE whose answer was lost has done, if it has.
func (t *trace) found(ctx context.Context, a *Account, dest string) (data imap.CopyData, ok bool) {
	uids, ok := a.arrived(ctx, dest, t.before, t.ids)
	if !ok {
		return data, false
	}
	return imap.CopyData{UIDValidity: t.before.UIDValidity, Source: imap.UIDSetOf(t.uids...), Dest: uids}, true
}
