package remote

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/mailbox"
)

// box is an open mailbox and its connection. The connection belongs to the
// caller of the methods, or to the goroutine of a Watch while there is one.
type box struct {
	account  *Account
	name     string
	readOnly bool // as asked for
	link     link

	watch *watch   // nil without a Watch; belongs to the caller
	ahead []*begun // FETCHes that will be asked for; likewise

	mu       sync.Mutex // guards what follows, against the goroutine of a Watch
	state    state
	watching *watch // the same as watch
}

// Open selects a mailbox on a connection of its own.
func (a *Account) Open(ctx context.Context, name string, readOnly bool) (mailbox.Mailbox, error) {
	return a.Reopen(ctx, name, readOnly, "")
}

// Reopen implements mailbox.Reopener, as far as the peer does.
func (a *Account) Reopen(ctx context.Context, name string, readOnly bool, id imap.ObjectID) (mailbox.Mailbox, error) {
	b := &box{account: a, name: name, readOnly: readOnly}
	b.link = link{cfg: &a.cfg, mailbox: name, delimiter: a.control.delimiter, prepare: b.selectOn}
	b.state.info.Name, b.state.info.MailboxID = name, id
	err := b.link.do(ctx, true, func(*imapclient.Conn) error { return nil })
	if err != nil {
		b.link.drop()
		return nil, refusal(err, imap.CodeNonExistent)
	}
	a.control.delimiter = b.link.delimiter
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state.take()
	return b, nil
}

// selectOn selects the mailbox on a new connection and takes in its state. What
// asks for the messages goes out with the SELECT, to save a round trip.
func (b *box) selectOn(ctx context.Context, c *imapclient.Conn) error {
	if err := b.usable(); err != nil {
		return err
	}
	peer, err := b.link.toPeer(b.name)
	if err != nil {
		return err
	}
	s := selection{readOnly: b.readOnly}
	b.event(func(st *state) {
		if c.Has("QRESYNC") && c.Has("ENABLE") {
			s.enable, s.since = true, st.syncedTo()
			s.brief = st.info.UIDValidity == 0 && searches(c)
		}
		if s.since > 0 {
			st.reconsider()
		} else {
			st.renew()
		}
		st.exists = 0
	})
	c.Handler = b.handler()
	c.Handler.Status, c.Handler.Flags = s.status, func(flags []imap.Flag) { s.flags = flags }
	err = b.exchangeSelect(ctx, c, peer, &s)
	c.Handler = b.handler()
	if err != nil {
		b.event(func(st *state) {
			st.restore()
			st.synced = 0 // the next attempt asks for all
		})
		return b.notSelected(err)
	}
	if !c.Has("OBJECTID") { // STATUS would not tell it
		s.mailboxID = ""
	}
	if err := b.adopt(&s); err != nil {
		return err
	}
	return b.complete(ctx, c)
}

// exchangeSelect sends the commands of a SELECT and waits for what they give: all
// messages, if s.brief is set without their flags, or if s.since is known what
// has changed since.
func (b *box) exchangeSelect(ctx context.Context, c *imapclient.Conn, peer string, s *selection) error {
	var enabling, asking *imapclient.Command
	var err error
	if s.enable {
		if enabling, err = c.Send(ctx, nil, command("ENABLE QRESYNC")); err != nil {
			return unavailable(err)
		}
	}
	modSeq := c.Has("CONDSTORE")
	s.known = c.Has(imapwire.SelectKnown)
	selecting, err := c.Send(ctx, nil, func(e *imapwire.Encoder) { b.writeSelect(e, peer, s, modSeq) })
	if err == nil && s.since == 0 {
		asking, err = b.askAll(ctx, c, s)
	}
	if err != nil {
		return unavailable(err)
	}
	if enabling != nil {
		_, _ = c.Wait(ctx, enabling) // if it is refused, so is SELECT, or it tells all the same
	}
	status, refused := c.Wait(ctx, selecting)
	if asking != nil {
		_, err = c.Wait(ctx, asking)
	}
	if c.Broken() != nil {
		return unavailable(c.Broken())
	}
	if refused != nil {
		return refusal(refused, imap.CodeNonExistent)
	}
	s.status(status)
	if s.noModSeq && (s.since > 0 || s.brief || err != nil) {
		return b.fetchAnew(ctx, c)
	}
	// Some servers say BAD to 1:* where there are no messages.
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.exists > 0 {
		return refusal(err, imap.CodeCannot)
	}
	return nil
}

// askAll asks for all messages. The searches answer in a line each; flags are
// asked for when they are needed (learn). Only with modification sequences can
// those be told that have changed until then.
func (b *box) askAll(ctx context.Context, c *imapclient.Conn, s *selection) (last *imapclient.Command, err error) {
	if !s.brief {
		return c.Send(ctx, nil, command("UID FETCH 1:* "+flagItems(c.Has("CONDSTORE"))))
	}
	found := func(take func(*state, imap.UIDSet)) *imapclient.Handler {
		return &imapclient.Handler{Search: func(uids imap.UIDSet, _ imap.ModSeq) {
			b.event(func(st *state) { take(st, uids) })
		}}
	}
	if _, err = c.Send(ctx, found((*state).number), command("UID SEARCH RETURN (ALL) ALL")); err != nil {
		return nil, err
	}
	return c.Send(ctx, found((*state).mark), command("UID SEARCH RETURN (ALL) RECENT"))
}

// searches reports whether a peer can be asked for a mailbox by searches.
// Dovecot, which has no OBJECTID, does not find recent messages in a mailbox that is
// only read.
func searches(c *imapclient.Conn) bool {
	return c.Has("CONDSTORE") && c.Has("ESEARCH") && c.Has("OBJECTID")
}

func (b *box) writeSelect(e *imapwire.Encoder, peer string, s *selection, modSeq bool) {
	verb := "SELECT"
	if b.readOnly {
		verb = "EXAMINE"
	}
	e.Atom(verb).SP().Mailbox(peer)
	info, before := b.Info(), " ("
	if s.known && info.MailboxID != "" {
		e.RawString(before).Atom(imapwire.SelectKnown).RawString(" (").Atom(string(info.MailboxID)).Special(')')
		before = " "
	}
	switch {
	case s.since > 0: // RFC 7162 section 3.2.5
		e.RawString(before).RawString("QRESYNC (").Number(info.UIDValidity).SP().Number64(uint64(s.since)).Special(')')
	case modSeq:
		e.RawString(before).RawString("CONDSTORE")
	case before == " (":
		return
	}
	e.Special(')')
}

// fetchAnew fetches all messages of a mailbox without modification sequences.
func (b *box) fetchAnew(ctx context.Context, c *imapclient.Conn) error {
	b.event(func(st *state) { st.messages, st.resync, st.noModSeq = nil, false, true })
	_, err := c.Do(ctx, nil, command("UID FETCH 1:* "+flagItems(false)))
	return refusal(err, imap.CodeCannot)
}

// flagItems are what is kept of each message, as far as the peer has it.
func (b *box) flagItems(c *imapclient.Conn) string { return flagItems(b.modSeqs(c)) }

// modSeqs reports whether the mailbox has modification sequences there.
func (b *box) modSeqs(c *imapclient.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return c.Has("CONDSTORE") && !b.state.noModSeq
}

func flagItems(modSeq bool) string {
	if modSeq {
		return "(UID FLAGS MODSEQ)"
	}
	return "(UID FLAGS)"
}

// notSelected notes what a refusal to select again says of the mailbox.
func (b *box) notSelected(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch imap.CodeOf(err) {
	case imap.CodeNonExistent:
		b.state.end(&b.state.gone)
	case imap.CodeNoPerm:
		b.state.revoked, b.state.denied = !b.state.denied, true
	}
	return err
}

// selection is what a SELECT tells.
type selection struct {
	uidValidity   uint32
	uidNext       imap.UID
	highestModSeq imap.ModSeq
	mailboxID     imap.ObjectID
	flags         []imap.Flag
	permanent     []imap.Flag
	limited       bool // PERMANENTFLAGS were told
	readOnly      bool
	noModSeq      bool // NOMODSEQ was told

	firstUnseen imap.SeqNum // 0 if it was not told

	enable bool        // QRESYNC is to be enabled
	known  bool        // the peer may be told which mailbox it was
	brief  bool        // flags are not asked for
	since  imap.ModSeq // ask only for what happened after it, by QRESYNC; 0: for all
}

// status takes the response codes of SELECT (RFC 9051 section 6.3.2).
func (s *selection) status(status *imapclient.Status) {
	switch status.Code {
	case "UIDVALIDITY":
		s.uidValidity = uint32(number(status.Args))
	case "UIDNEXT":
		s.uidNext = imap.UID(number(status.Args))
	case "HIGHESTMODSEQ":
		s.highestModSeq = imap.ModSeq(number(status.Args))
	case "MAILBOXID":
		if id := imap.ObjectID(strings.Trim(status.Args, "()")); id.Valid() {
			s.mailboxID = id
		}
	case "NOMODSEQ":
		s.noModSeq = true
	case "UNSEEN":
		s.firstUnseen = imap.SeqNum(number(status.Args))
	case "PERMANENTFLAGS":
		s.permanent, s.limited = flagList(status.Args), true
	case "READ-ONLY":
		s.readOnly = true
	}
}

// flagList reads the flags of PERMANENTFLAGS.
func flagList(args string) []imap.Flag {
	var flags []imap.Flag
	for f := range strings.FieldsSeq(strings.Trim(args, "()")) {
		flags = append(flags, imap.CanonicalFlag(imap.Flag(f)))
	}
	return flags
}

// number reads a number of 63 bits, 0 if it is none.
func number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0
	}
	return n
}

// adopt makes a selection the state, or compares it with the state from before
// the connection was lost.
func (b *box) adopt(s *selection) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	st := &b.state
	st.keep()
	if len(b.account.cfg.Apart) > 0 { // whatever the peer tells unasked
		s.highestModSeq, s.noModSeq = 0, true
	}
	if s.uidValidity == 0 {
		return unavailable(errNoUIDs)
	}
	// UIDNEXT goes back where a mailbox was restored from an older copy: its UIDs may
	// be those of other messages now.
	another := st.info.UIDValidity != s.uidValidity || s.uidNext > 0 && s.uidNext < st.known
	if st.info.UIDValidity != 0 && another {
		st.end(&st.gone)
		return imap.NoMailbox()
	}
	if st.info.UIDValidity == 0 {
		st.opened = s.highestModSeq
	}
	st.info.UIDValidity, st.denied = s.uidValidity, false
	st.info.MailboxID = s.mailboxID
	st.uidNext = max(st.uidNext, s.uidNext)
	if st.noModSeq = s.noModSeq; s.noModSeq {
		st.highestModSeq = 0
	}
	st.highestModSeq = max(st.highestModSeq, s.highestModSeq)
	st.known = st.uidNext
	st.settle()
	st.unseenAt(s.firstUnseen)
	if !s.limited {
		s.permanent = append(slices.Clone(s.flags), imap.FlagWildcard)
	}
	st.setFlags(s.flags, s.permanent, s.readOnly)
	return nil
}

// usable is the refusal of commands on a mailbox that is no more.
func (b *box) usable() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.ended {
		return imap.NoMailbox()
	}
	return nil
}

// writable is the refusal of a change where only reading was asked for. What
// the acting user may not change is for the peer to say.
func (b *box) writable() error {
	if err := b.usable(); err != nil || !b.readOnly {
		return err
	}
	return imap.Errorf(imap.CodeNoPerm, "Mailbox is read-only")
}

// do runs a command on the mailbox's connection.
func (b *box) do(ctx context.Context, repeat bool, f func(*imapclient.Conn) error) error {
	if err := b.usable(); err != nil {
		return err
	}
	err := b.link.do(ctx, repeat, f)
	if err == nil {
		b.settle()
	}
	if b.usable() != nil {
		return imap.NoMailbox()
	}
	return refusal(err, imap.CodeCannot)
}

func (b *box) Info() mailbox.Info {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state.info
}

// Sync asks with NOOP. During a Watch that is not needed: the peer tells what
// happens by itself, and its connection is busy.
func (b *box) Sync(ctx context.Context, fresh bool) (mailbox.Changes, error) {
	if b.watch == nil {
		b.refresh(ctx, fresh)
	}
	if err := ctx.Err(); err != nil {
		return mailbox.Changes{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state.take(), nil
}

// refresh takes in what the peer has to tell. If it can't be asked, that is
// what there is to tell.
func (b *box) refresh(ctx context.Context, fresh bool) {
	b.mu.Lock()
	idle := b.state.ended || !fresh && !b.state.incomplete()
	b.mu.Unlock()
	if idle || !fresh && len(b.ahead) > 0 { // what was begun comes first
		return
	}
	err := b.link.do(ctx, true, func(c *imapclient.Conn) error {
		if fresh {
			if _, err := c.Do(ctx, nil, command("NOOP")); err != nil {
				return err
			}
		}
		return b.complete(ctx, c)
	})
	if err == nil {
		b.settle()
	}
	b.noteReached(err)
}

// settle notes that the peer has told all that happened so far.
func (b *box) settle() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state.settle()
}

// noteReached notes whether the peer could be asked.
func (b *box) noteReached(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if lost := imap.CodeOf(err) == imap.CodeUnavailable; lost != b.state.lost {
		b.state.lost, b.state.unavailable = lost, lost
	}
}

// complete asks for the messages that the peer has told of only as a number.
// What changes meanwhile may take more than one attempt.
func (b *box) complete(ctx context.Context, c *imapclient.Conn) error {
	for range 3 {
		b.mu.Lock()
		from, incomplete, all := b.state.lastUID()+1, b.state.incomplete(), b.state.confused
		if incomplete && all {
			from = 1
			b.state.renew()
		}
		b.mu.Unlock()
		if !incomplete {
			return nil
		}
		set := imap.UIDRange(from, 1<<32-1).String()
		_, err := c.Do(ctx, nil, command("UID FETCH "+set+" "+b.flagItems(c)))
		if all {
			b.event(func(s *state) {
				if err != nil {
					s.restore()
				} else {
					s.keep()
				}
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Close ends the connection, and a Watch before.
func (b *box) Close() error {
	if b.watch != nil {
		b.watch.stop()
	}
	b.link.drop()
	return nil
}
