package imapserver

import (
	"context"
	"iter"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/mailbox"
)

// known is what a client knows of a mailbox that it selects again. RFC 7162
// section 3.2.5.
type known struct {
	mailboxID imap.ObjectID // of imapwire.SelectKnown, else empty; what follows is of QRESYNC, else zero

	uidValidity uint32
	modSeq      imap.ModSeq
	uids        imap.UIDSet // nil: all
	seqs        imap.UIDSet // of some messages that have
	seqUIDs     imap.UIDSet // these UIDs
}

// parseSelect reads the arguments of SELECT and EXAMINE: a mailbox, and what is
// known of it.
func (s *session) parseSelect(cmd *command) (*known, error) {
	if !s.dec.ExpectSP() || !s.dec.ExpectMailbox(&cmd.mailbox) {
		return nil, s.dec.Err()
	}
	k := &known{}
	var on extensions
	if s.dec.SP() {
		err := s.dec.List(func() (err error) {
			var name string
			if !s.dec.ExpectAtom(&name) {
				return s.dec.Err()
			}
			switch name = strings.ToUpper(name); {
			case name == "CONDSTORE":
				on |= condStore
			case name == "QRESYNC" && s.on&qresync == 0:
				return imap.BadCommand("QRESYNC is not enabled")
			case name == "QRESYNC" && k.uidValidity == 0:
				err = s.parseKnown(k)
			case name == imapwire.SelectKnown && s.isBack():
				err = s.parseMailboxID(k)
			default:
				return imap.BadCommand("Unknown SELECT parameter")
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if !s.dec.ExpectCRLF() {
		return nil, s.dec.Err()
	}
	s.on |= on // what is selected now is about to be closed
	return k, nil
}

// parseMailboxID reads the argument of imapwire.SelectKnown, and the space before it.
func (s *session) parseMailboxID(k *known) error {
	var id string
	if !s.dec.ExpectSP() || !s.dec.ExpectSpecial('(') || !s.dec.ExpectAtom(&id) || !s.dec.ExpectSpecial(')') {
		return s.dec.Err()
	}
	if k.mailboxID = imap.ObjectID(id); !k.mailboxID.Valid() {
		return imap.BadCommand("Invalid MAILBOXID")
	}
	return nil
}

// parseKnown reads the argument of QRESYNC, and the space before it.
func (s *session) parseKnown(k *known) error {
	d := s.dec
	if !d.ExpectSP() || !d.ExpectSpecial('(') || !d.ExpectNumber(&k.uidValidity) {
		return d.Err()
	}
	if err := s.parseModSeq(&k.modSeq); err != nil {
		return err
	}
	more := d.SP()
	if b, ok := d.PeekByte(); more && ok && b != '(' {
		uids, err := s.parsePlainSet()
		if err != nil {
			return err
		}
		k.uids, more = uids, d.SP()
	}
	if more {
		if err := s.parseMatches(k); err != nil {
			return err
		}
	}
	d.ExpectSpecial(')')
	return d.Err()
}

// parseMatches reads sequence numbers and the UIDs of these messages.
func (s *session) parseMatches(k *known) (err error) {
	if !s.dec.ExpectSpecial('(') {
		return s.dec.Err()
	}
	if k.seqs, err = s.parsePlainSet(); err != nil {
		return err
	}
	if !s.dec.ExpectSP() {
		return s.dec.Err()
	}
	if k.seqUIDs, err = s.parsePlainSet(); err != nil {
		return err
	}
	if k.seqs.Len() != k.seqUIDs.Len() {
		return imap.BadCommand("Sequence numbers and UIDs are not as many")
	}
	s.dec.ExpectSpecial(')')
	return s.dec.Err()
}

// parsePlainSet reads a set without "*".
func (s *session) parsePlainSet() (imap.UIDSet, error) {
	var text string
	if !s.dec.ExpectSeqSet(&text) {
		return nil, s.dec.Err()
	}
	set, err := imap.ParseNumSet(text)
	if err == nil && strings.Contains(text, "*") {
		err = imap.BadCommand("\"*\" is not allowed here")
	}
	return set.Resolve(0), err
}

// resync tells a client that has selected a mailbox what happened since it knew
// it. RFC 7162 section 3.2.5.1. If that was another mailbox or there are no
// modification sequences, it says nothing.
func (s *session) resync(ctx context.Context, k *known, info *mailbox.Info) error {
	if k.uidValidity != info.UIDValidity || !s.hasModSeqs {
		return nil
	}
	uids := imap.UIDRange(1, max(info.UIDNext, 1)-1)
	if k.uids != nil {
		uids = uids.Intersect(k.uids)
	}
	unsure := uids.Intersect(imap.UIDRange(s.surelyKnown(k)+1, 1<<32-1))
	if err := s.tellVanished(ctx, unsure, k.modSeq); err != nil {
		return err
	}
	items := imap.FetchItems{Flags: true, ModSeq: true, ChangedSince: k.modSeq}
	return s.mbox.Fetch(ctx, uids, &items, func(m *mailbox.Message) error { return s.writeStored(m, true) })
}

// maxMatches bounds how many of the pairs of a client are compared. They only
// make an answer shorter.
const maxMatches = 10_000

// surelyKnown is the last UID of which the client has the right number: it knows
// what became of all messages before. RFC 7162 section 3.2.5.2.
func (s *session) surelyKnown(k *known) (last imap.UID) {
	nextUID, stop := iter.Pull(k.seqUIDs.All())
	defer stop()
	n := 0
	for seq := range k.seqs.All() {
		uid, ok := nextUID()
		if n++; !ok || n > maxMatches {
			break
		}
		if s.view.seq(uid) == imap.SeqNum(seq) {
			last = uid
		}
	}
	return last
}
