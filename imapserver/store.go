package imapserver

import (
	"context"
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// maxFlags bounds the flags that one command names: no fewer than a message can have.
const maxFlags = 300

// store is STORE. RFC 3501 section 6.4.6, RFC 7162 section 3.1.3.
func (s *session) store(ctx context.Context, cmd *command) error {
	set, change, err := s.parseStore()
	if err != nil {
		return err
	}
	uids, err := s.resolve(set, cmd.is(byUID))
	if err != nil {
		return err
	}
	if change.UnchangedSince != nil {
		if err := s.needModSeqs(); err != nil {
			return err
		}
	}
	change.ModSeqs = s.modSeqs()
	stored := 0
	modified, err := s.mbox.Store(ctx, uids, change, func(m *mailbox.Message) error {
		stored++
		return s.writeStored(m, cmd.is(byUID))
	})
	if err != nil {
		return err
	}
	if !change.Silent && stored < s.view.countOf(uids.Minus(modified)) {
		cmd.expungeIssued()
	}
	return s.tellModified(ctx, cmd, modified.Intersect(s.view.uids))
}

// writeStored is one FETCH response of a STORE. Without flags, which a silent
// client knows, it has the modification sequence alone.
func (s *session) writeStored(m *mailbox.Message, withUID bool) error {
	seq, modSeqs := s.view.seq(m.UID), s.modSeqs()
	if seq == 0 {
		return nil
	}
	s.beginFetch(seq)
	if withUID || modSeqs {
		s.enc.RawString("UID ").Number(uint32(m.UID)).SP()
	}
	if !m.ModSeqAlone {
		s.enc.RawString("FLAGS ")
		s.writeFlags(m.UID, m.Flags)
	}
	if modSeqs && !m.ModSeqAlone {
		s.enc.SP()
	}
	if modSeqs {
		s.writeModSeq(m.ModSeq)
	}
	s.enc.RawString(")").CRLF()
	return s.enc.Err()
}

// tellModified names the messages that were spared, and shows what they are like
// now (RFC 7162 section 3.1.3).
func (s *session) tellModified(ctx context.Context, cmd *command, modified imap.UIDSet) error {
	if modified.Empty() {
		return nil
	}
	named := modified
	if !cmd.is(byUID) {
		named = s.view.seqsOf(modified)
	}
	cmd.code, cmd.args, cmd.text = "MODIFIED", named.String(), "Conditional STORE failed."
	items := imap.FetchItems{Flags: true, ModSeq: true}
	return s.mbox.Fetch(ctx, modified, &items, func(m *mailbox.Message) error { return s.writeStored(m, true) })
}

// expungeIssued makes the OK say that messages were gone which the client
// still has a number for (RFC 5530 section 3).
func (cmd *command) expungeIssued() {
	cmd.code, cmd.text = imap.CodeExpungeIssued, "Some messages were already expunged."
}

func (s *session) parseStore() (messageSet, mailbox.FlagChange, error) {
	var change mailbox.FlagChange
	set, err := s.parseSet()
	if err != nil {
		return set, change, err
	}
	var item string
	if !s.dec.ExpectSP() {
		return set, change, s.dec.Err()
	}
	if b, ok := s.dec.PeekByte(); ok && b == '(' {
		if change.UnchangedSince, err = s.parseUnchangedSince(); err != nil {
			return set, change, err
		}
	}
	if !s.dec.ExpectAtom(&item) || !s.dec.ExpectSP() ||
		!s.dec.ExpectStoreFlags(&change.Flags) || !s.dec.ExpectCRLF() {
		return set, change, s.dec.Err()
	}
	item = strings.ToUpper(item)
	item, change.Silent = strings.CutSuffix(item, ".SILENT")
	switch item {
	case "FLAGS":
		change.Op = mailbox.FlagsReplace
	case "+FLAGS":
		change.Op = mailbox.FlagsAdd
	case "-FLAGS":
		change.Op = mailbox.FlagsRemove
	default:
		return set, change, imap.BadCommand("Expected FLAGS, +FLAGS or -FLAGS")
	}
	change.Flags, err = checkFlags(change.Flags)
	return set, change, err
}

// parseUnchangedSince reads the modifiers of STORE, of which there is one, and
// the space behind them. RFC 4466 section 2.5.
func (s *session) parseUnchangedSince() (*imap.ModSeq, error) {
	var since *imap.ModSeq
	err := s.dec.List(func() error {
		var name string
		if !s.dec.ExpectAtom(&name) {
			return s.dec.Err()
		}
		if !strings.EqualFold(name, "UNCHANGEDSINCE") || since != nil {
			return imap.BadCommand("Unknown STORE modifier")
		}
		since = new(imap.ModSeq)
		return s.parseModSeq(since)
	})
	if err == nil && since == nil {
		err = imap.BadCommand("Empty list of STORE modifiers")
	}
	if err == nil {
		s.dec.ExpectSP()
		err = s.dec.Err()
	}
	return since, err
}

// checkFlags gives flags in their usual spelling, each once. What a client
// can't set is BAD.
func checkFlags(flags []imap.Flag) ([]imap.Flag, error) {
	if len(flags) > maxFlags {
		return nil, imap.BadCommand("Too many flags")
	}
	out := flags[:0]
	for _, f := range flags {
		f = imap.CanonicalFlag(f)
		switch {
		case len(f) > imap.MaxFlagLen:
			return nil, imap.BadCommand("Flag is too long")
		case strings.HasPrefix(string(f), `\`) && !slices.Contains(imap.SystemFlags(), f):
			return nil, imap.BadCommand("Invalid system flag %s", f)
		case !imap.HasFlag(out, f):
			out = append(out, f)
		}
	}
	return out, nil
}
