package remote

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/mailbox"
)

var _ mailbox.Observer = (*Account)(nil)

// glanceItems are the counters of a Glance.
const glanceItems = imap.StatusMessages | imap.StatusUIDNext | imap.StatusUIDValidity | imap.StatusUnseen | imap.StatusHighestModSeq | imap.StatusMailboxID

// observation is an Observe. Its goroutine has an Account, and so a connection,
// of its own. A peer that has NOTIFY (RFC 5465) says when something has changed,
// others are looked at every PollInterval; then all is asked for again.
type observation struct {
	listener
	account *Account
	looked  chan struct{} // closed when the peer was asked once

	changed bool // the peer has told of something since the last look
	again   int  // looks in a row, without waiting
	deaf    bool // the peer has said that it tells nothing more

	// Under listener.mu:
	glances  []mailbox.Glance
	metadata mailbox.MetadataLog[string] // by name
}

// Observe implements mailbox.Observer.
func (a *Account) Observe(ctx context.Context, _ []string, notify func()) (stop func(), err error) {
	o := &observation{account: New(a.cfg), looked: make(chan struct{})}
	o.account.control.prepare, o.account.control.waits = o.arm, true
	a.observation = o
	o.start(notify, o.run)
	select {
	case <-o.looked:
	case <-ctx.Done():
	}
	return func() {
		o.stop(func() {
			if a.observation == o {
				a.observation = nil
			}
		})
	}, nil
}

// Overview implements mailbox.Observer.
func (a *Account) Overview(context.Context) ([]mailbox.Glance, error) {
	if a.observation == nil {
		return nil, nil
	}
	a.observation.mu.Lock()
	defer a.observation.mu.Unlock()
	return slices.Clone(a.observation.glances), nil
}

// MetadataChanges implements mailbox.Observer. What changes while there is no
// connection is not heard of.
func (a *Account) MetadataChanges(context.Context) ([]mailbox.MetadataChange, error) {
	if a.observation == nil {
		return nil, nil
	}
	a.observation.mu.Lock()
	defer a.observation.mu.Unlock()
	return a.observation.metadata.Take(func(name string) (string, bool) { return name, true })
}

// maxAgain is how often in a row a peer is looked at that has always changed.
const maxAgain = 5

// arm has a new connection tell what happens.
func (o *observation) arm(ctx context.Context, c *imapclient.Conn) error {
	o.changed = true
	c.Handler.List = func(*imapclient.ListData) { o.hear() }
	c.Handler.MailboxStatus = func(*imapclient.StatusData) { o.hear() }
	c.Handler.MetadataChanged = o.hearMetadata
	c.Handler.Status = func(s *imapclient.Status) {
		if s.Code == "NOTIFICATIONOVERFLOW" {
			o.deaf = true
			o.hear()
		}
	}
	if !notifies(c) {
		return nil
	}
	return o.ask(ctx, c)
}

// ask has a peer that can do so tell what happens.
func (o *observation) ask(ctx context.Context, c *imapclient.Conn) error {
	o.deaf = false
	if c.Has("CONDSTORE") {
		if _, err := c.Do(ctx, nil, command("ENABLE CONDSTORE")); err != nil && c.Broken() != nil {
			return unavailable(err)
		}
	}
	if c.Has("METADATA") {
		_, err := c.Do(ctx, nil, command("NOTIFY SET (personal ("+notifyEvents+" MailboxMetadataChange ServerMetadataChange))"))
		if err == nil || c.Broken() != nil {
			return refusal(err, imap.CodeCannot)
		} // Dovecot has METADATA, but not these events
	}
	_, err := c.Do(ctx, nil, command("NOTIFY SET (personal ("+notifyEvents+"))"))
	return refusal(err, imap.CodeCannot)
}

const notifyEvents = "MessageNew MessageExpunge FlagChange MailboxName"

// hearMetadata remembers which annotations have changed. It is called like hear.
func (o *observation) hearMetadata(d *imapclient.MetadataNames) {
	name, ok := o.account.control.fromPeer(d.Mailbox, o.account.control.delimiter)
	if !ok {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, spelled := range d.Entries {
		if entry, err := imap.CheckMetadataName(spelled); err == nil {
			o.metadata.Add(name, entry)
		}
	}
	if o.notify != nil {
		o.notify()
	}
}

// askAgain is for a peer to which it was too much (RFC 5465 section 5.8). Which
// annotations have changed is not known then.
func (o *observation) askAgain(ctx context.Context, c *imapclient.Conn) error {
	if err := o.ask(ctx, c); err != nil {
		return err
	}
	o.changed = true
	o.mu.Lock()
	defer o.mu.Unlock()
	o.metadata.Overflow()
	if o.notify != nil {
		o.notify()
	}
	return nil
}

// hear ends the IDLE that is under way. It is called by the goroutine, as it
// reads what the peer has to tell.
func (o *observation) hear() {
	o.changed = true
	o.interrupt()
}

// run looks and waits in turn, until the end and through lost connections.
func (o *observation) run() {
	defer o.account.Close()
	ctx, _, cancel := o.contexts()
	defer cancel()
	first := sync.OnceFunc(func() { close(o.looked) })
	for !o.stopped() {
		err := o.look(ctx)
		first()
		if err == nil {
			err = o.account.control.do(ctx, true, func(c *imapclient.Conn) error { return o.listen(ctx, c) })
		}
		if err != nil {
			o.pause(o.account.cfg.PollInterval / 30)
		}
	}
}

// notifies says whether a peer can be waited for.
func notifies(c *imapclient.Conn) bool {
	return c.Has("NOTIFY") && c.Has("LIST-STATUS") && c.Has("IDLE")
}

// look asks how all mailboxes stand, and tells if that has changed.
func (o *observation) look(ctx context.Context) error {
	o.changed = false
	var now []mailbox.Glance
	poll := false
	err := o.account.control.do(ctx, true, func(c *imapclient.Conn) (err error) {
		if poll = !notifies(c); !poll {
			now, err = o.list(ctx, c)
		}
		return err
	})
	if err == nil && poll {
		now, err = o.poll(ctx)
	}
	if err != nil {
		return err
	}
	if o.deaf { // that has to be known first
		return nil
	}
	slices.SortFunc(now, func(a, b mailbox.Glance) int { return strings.Compare(a.Name, b.Name) })
	o.mu.Lock()
	defer o.mu.Unlock()
	if slices.Equal(o.glances, now) {
		return nil
	}
	o.glances, o.changed = now, true // what seems new may be told of for another reason: list
	if o.notify != nil {
		o.notify()
	}
	return nil
}

// list asks in one exchange. What the peer tells by itself meanwhile looks as
// the answer does. But then a mailbox is told of twice, or one as deleted, or one
// is new; in each case all is asked for again.
func (o *observation) list(ctx context.Context, c *imapclient.Conn) ([]mailbox.Glance, error) {
	items, _ := offered(c, glanceItems)
	found, told := map[string]*mailbox.Glance{}, map[string]bool{}
	h := &imapclient.Handler{
		List: func(d *imapclient.ListData) {
			name, ok := o.account.control.fromPeer(d.Name, d.Delimiter)
			switch {
			case slices.Contains(d.Attrs, imap.AttrNonExistent) || found[name] != nil:
				o.changed = true
			case ok && !slices.ContainsFunc(d.Attrs, isNoMailbox) && len(found) < maxNames:
				found[name] = &mailbox.Glance{Name: name}
			}
		},
		MailboxStatus: func(d *imapclient.StatusData) {
			name, _ := o.account.control.fromPeer(d.Name, o.account.control.delimiter)
			if g := found[name]; g != nil && d.Has&items == items && !told[name] {
				g.Readable, g.Status, told[name] = true, onlyGlance(d.Status), true
				return
			}
			o.changed = true
		},
	}
	_, err := c.Do(ctx, h, func(e *imapwire.Encoder) {
		e.RawString(`LIST "" "*" RETURN (STATUS `)
		writeStatusItems(e, items)
		e.Special(')')
	})
	now := make([]mailbox.Glance, 0, len(found))
	for _, g := range found {
		now = append(now, *g)
	}
	return now, refusal(err, imap.CodeCannot)
}

// poll asks a peer that says nothing by itself.
func (o *observation) poll(ctx context.Context) (now []mailbox.Glance, err error) {
	entries, err := o.account.List(ctx, []string{"*"})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !slices.ContainsFunc(e.Attrs, isNoMailbox) {
			names = append(names, e.Name)
		}
	}
	o.account.Statuses(ctx, names, glanceItems, func(name string, s imap.Status, refused error) {
		switch imap.CodeOf(refused) {
		case imap.CodeNone:
			now = append(now, mailbox.Glance{Name: name, Readable: true, Status: onlyGlance(s)})
		case imap.CodeNoPerm:
			now = append(now, mailbox.Glance{Name: name})
		case imap.CodeNonExistent: // gone meanwhile
		default:
			err = refused
		}
	})
	return now, err
}

// onlyGlance leaves off what the peer told beside what was asked for.
func onlyGlance(s imap.Status) imap.Status {
	return imap.Status{
		Messages: s.Messages, UIDNext: s.UIDNext, UIDValidity: s.UIDValidity, Unseen: s.Unseen,
		HighestModSeq: s.HighestModSeq, MailboxID: s.MailboxID,
	}
}

// listen waits until there is something to look at.
func (o *observation) listen(ctx context.Context, c *imapclient.Conn) error {
	if !notifies(c) {
		o.pause(o.account.cfg.PollInterval)
		return nil
	}
	if o.deaf {
		return o.askAgain(ctx, c)
	}
	defer o.on(c)()
	if o.changed || o.stopped() {
		o.pace()
		return nil
	}
	begun := time.Now()
	err := c.Idle(ctx, nil, o.account.cfg.IdleTime)
	if time.Since(begun) > o.account.cfg.PollInterval/30 {
		o.again = 0
	} else {
		o.pace()
	}
	return err
}

// pace is called between two looks that follow one another at once.
func (o *observation) pace() {
	if o.again++; o.again%maxAgain == 0 {
		o.pause(o.account.cfg.PollInterval / 30)
	}
}
