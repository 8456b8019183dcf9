package imapserver

import (
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// sync tells the client what happened in the selected mailbox. With fresh its
// home is asked. With hold, EXPUNGE responses are left for the next time.
//
// A home that can't be asked is no error here: NOOP keeps working, and the
// commands that need the mailbox say so.
func (s *session) sync(fresh, hold bool) {
	if s.mbox == nil || s.quiet() {
		return
	}
	changes, err := s.mbox.Sync(s.ctx, fresh)
	if err != nil {
		s.logger().Debug("sync failed", "mailbox", s.name, "error", err)
	}
	s.holdFlags(&changes)
	s.tell(&changes, hold)
	s.fetchNew(changes.New)
}

// quiet says that the client wants to hear nothing of the selected mailbox but
// what its own commands remove. RFC 5465 section 3.1.
func (s *session) quiet() bool {
	return s.notify != nil && s.notify.selectedGroup() == nil && !s.cmd.is(asksHome|changes)
}

// tell writes changes in the order in which they make sense to a client:
// numbers move first, then messages come, then flags change.
func (s *session) tell(c *mailbox.Changes, hold bool) {
	s.view.vanish(c.Vanished)
	if !hold {
		s.tellExpunged()
	}
	if !c.New.Empty() {
		s.view.add(c.New, c.Recent)
		s.tellCounts()
	}
	if c.FlagsChanged {
		s.tellFlags()
	}
	for i := range c.Flags {
		m := &c.Flags[i]
		if seq := s.view.seq(m.UID); seq != 0 {
			s.beginFetch(seq)
			s.enc.RawString("UID ").Number(uint32(m.UID)).RawString(" FLAGS ")
			s.writeFlags(m.UID, m.Flags)
			if s.modSeqs() {
				s.enc.SP()
				s.writeModSeq(m.ModSeq)
			}
			s.enc.RawString(")").CRLF()
		}
	}
	s.settle(c)
	s.tellEnd(c)
}

// settle notes up to where the client knows everything. A client that was told of
// later changes while EXPUNGE responses are held back would take those for known
// (RFC 7162 section 3.2): it is told how far it may go.
func (s *session) settle(c *mailbox.Changes) {
	if s.view.gone.Empty() {
		s.settled = max(s.settled, c.HighestModSeq)
		return
	}
	if s.cmd.toldModSeq && s.vanishes() {
		s.tellHighestModSeq("VANISHED is held back.")
	}
}

func (s *session) tellHighestModSeq(text string) {
	s.enc.RawString("* OK ").Code("HIGHESTMODSEQ", s.settled.String()).Text(text).CRLF()
}

// writeModSeq writes a MODSEQ item. RFC 7162 section 3.1.4.2.
func (s *session) writeModSeq(n imap.ModSeq) {
	s.cmd.toldModSeq = true
	s.enc.RawString("MODSEQ (").Number64(uint64(n)).Special(')')
}

// maxVanished is how many ranges a VANISHED response has: clients limit lines.
const maxVanished = 1000

func (s *session) writeVanished(name string, uids imap.UIDSet) {
	for part := range slices.Chunk(uids, maxVanished) {
		s.enc.RawString(name).AppendFunc(part.AppendTo).CRLF()
	}
}

func (s *session) tellExpunged() {
	if s.vanishes() {
		if uids := s.view.gone; !uids.Empty() {
			s.view.expunge()
			s.cmd.vanished = true
			s.writeVanished("* VANISHED ", uids)
		}
		return
	}
	seqs := s.view.expunge()
	for i := len(seqs) - 1; i >= 0; i-- {
		for n := seqs[i].Stop; n >= seqs[i].Start; n-- {
			s.enc.RawString("* ").Number(n).RawString(" EXPUNGE").CRLF()
		}
	}
}

// tellCounts writes EXISTS and, unless IMAP4rev2 is on, RECENT.
func (s *session) tellCounts() {
	s.enc.RawString("* ").Number(s.view.count()).RawString(" EXISTS").CRLF()
	if s.on&rev2 != 0 {
		return
	}
	s.enc.RawString("* ").Number(uint32(s.view.recent.Len())).RawString(" RECENT").CRLF()
}

// tellFlags writes FLAGS and PERMANENTFLAGS, and whether the mailbox has become
// read-only or writable (RFC 4314 section 5.1.1).
func (s *session) tellFlags() {
	info := s.mbox.Info()
	s.writeKnownFlags(&info)
	if info.ReadOnly == s.readOnly {
		return
	}
	s.readOnly = info.ReadOnly
	code, text := readOnlyCode(s.readOnly), "You may change this mailbox now."
	if s.readOnly {
		text = "You may only read this mailbox now."
	}
	s.enc.RawString("* OK ").Code(code, "").Text(text).CRLF()
}

func readOnlyCode(readOnly bool) imap.Code {
	if readOnly {
		return "READ-ONLY"
	}
	return "READ-WRITE"
}

// writeKnownFlags writes FLAGS and PERMANENTFLAGS.
func (s *session) writeKnownFlags(info *mailbox.Info) {
	s.enc.RawString("* FLAGS ").Flags(info.Flags).CRLF()
	text := "Flags permitted."
	if info.ReadOnly {
		text = "Read-only mailbox."
	}
	s.enc.RawString("* OK [PERMANENTFLAGS ").Flags(info.PermanentFlags).RawString("] ").Text(text).CRLF()
}

// tellEnd says why commands on the mailbox will be refused from now on.
func (s *session) tellEnd(c *mailbox.Changes) {
	warn := func(code imap.Code, text string) {
		s.enc.RawString("* NO ").Code(code, "").Text(text).CRLF()
	}
	if c.Gone {
		warn(imap.CodeNonExistent, "The selected mailbox was deleted.")
	}
	if c.Revoked {
		warn(imap.CodeNoPerm, "You may not read the selected mailbox any more.")
	}
	if c.Unavailable {
		warn(imap.CodeUnavailable, "The selected mailbox can't be reached now.")
	}
}

// beginFetch writes a FETCH response up to and with its parenthesis.
func (s *session) beginFetch(seq imap.SeqNum) {
	s.enc.RawString("* ").Number(uint32(seq)).RawString(" FETCH (")
}

// writeFlags writes a message's flags, and \Recent where it belongs.
func (s *session) writeFlags(uid imap.UID, flags []imap.Flag) {
	s.enc.Special('(')
	for i, f := range flags {
		if i > 0 {
			s.enc.SP()
		}
		s.enc.Flag(f)
	}
	if s.on&rev2 == 0 && s.view.recent.Contains(uid) {
		if len(flags) > 0 {
			s.enc.SP()
		}
		s.enc.Flag(imap.FlagRecent)
	}
	s.enc.Special(')')
}
