package imapserver

import (
	"context"
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// maxFlags bounds the flags that one command names.
const maxFlags = 200

// store is STORE. RFC 3501 section 6.4.6.
func (s *session) store(ctx context.Context, cmd *command) error {
	set, change, err := s.parseStore()
	if err != nil {
		return err
	}
	uids, err := s.view.resolve(set, cmd.is(byUID))
	if err != nil {
		return err
	}
	stored := 0
	_, err = s.mbox.Store(ctx, uids, change, func(m *mailbox.Message) error {
		stored++
		return s.writeStored(m, cmd.is(byUID))
	})
	if err == nil && !change.Silent && stored < s.view.countOf(uids) {
		cmd.expungeIssued()
	}
	return err
}

// writeStored is one FETCH response of a STORE.
func (s *session) writeStored(m *mailbox.Message, withUID bool) error {
	seq := s.view.seq(m.UID)
	if seq == 0 {
		return nil
	}
	s.beginFetch(seq)
	if withUID {
		s.enc.RawString("UID ").Number(uint32(m.UID)).SP()
	}
	s.enc.RawString("FLAGS ")
	s.writeFlags(m.UID, m.Flags)
	s.enc.RawString(")").CRLF()
	return s.enc.Err()
}

// expungeIssued makes the OK say that messages were gone which the client
// still has a number for (RFC 5530 section 3).
func (cmd *command) expungeIssued() {
	cmd.code, cmd.text = imap.CodeExpungeIssued, "Some messages were already expunged."
}

func (s *session) parseStore() (imap.NumSet, mailbox.FlagChange, error) {
	var change mailbox.FlagChange
	set, err := s.parseSet()
	if err != nil {
		return set, change, err
	}
	var item string
	if !s.dec.ExpectSP() || !s.dec.ExpectAtom(&item) || !s.dec.ExpectSP() ||
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
