package imapserver

import (
	"context"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// fetch is FETCH. RFC 3501 section 6.4.5.
func (s *session) fetch(ctx context.Context, cmd *command) error {
	set, req, err := s.parseFetch(cmd.is(byUID))
	if err != nil {
		return err
	}
	if cmd.is(byUID) {
		s.readAhead(ctx, set, req, false)
	}
	return s.runFetch(ctx, cmd, set, req)
}

// runFetch is FETCH once it was read.
func (s *session) runFetch(ctx context.Context, cmd *command, set messageSet, req *fetchRequest) error {
	uids, err := s.resolve(set, cmd.is(byUID))
	if err != nil {
		return err
	}
	if req.partial.to != 0 {
		uids = req.partial.of(uids.Intersect(s.view.uids).Minus(s.view.gone))
	}
	if req.items.ModSeq {
		if err := s.needModSeqs(); err != nil {
			return err
		}
	}
	if req.vanished {
		if err := s.tellVanished(ctx, s.anyUIDs(set), req.items.ChangedSince); err != nil {
			return err
		}
	}
	fetched := 0
	err = s.mbox.Fetch(ctx, uids, &req.items, func(m *mailbox.Message) error {
		fetched++
		return s.writeMessage(req, m)
	})
	if err == nil && !req.changedSince && fetched < s.view.countOf(uids) {
		cmd.expungeIssued()
	}
	return err
}

// fetchRequest is what a FETCH asks for, with what belongs to the session.
type fetchRequest struct {
	items  imap.FetchItems
	uid    bool
	labels []string // of items.Sections: how the response names each
	sizes  []string // likewise of items.BinarySizes

	changedSince, vanished bool // modifiers
	partial                partial
}

// writeMessage writes one FETCH response. RFC 3501 section 7.4.2. Bodies are
// copied as they come.
func (s *session) writeMessage(req *fetchRequest, m *mailbox.Message) error {
	seq := s.view.seq(m.UID)
	if seq == 0 {
		return nil
	}
	s.beginFetch(seq)
	sep := ""
	item := func(name string) {
		s.enc.RawString(sep).RawString(name)
		sep = " "
	}
	unasked := m.FlagsChanged && s.modSeqs() // RFC 7162 section 3.2.4
	if req.uid || unasked {
		item("UID ")
		s.enc.Number(uint32(m.UID))
	}
	if req.items.Flags || m.FlagsChanged {
		item("FLAGS ")
		s.writeFlags(m.UID, m.Flags)
	}
	if req.items.ModSeq || unasked {
		item("")
		s.writeModSeq(m.ModSeq)
	}
	if req.items.InternalDate {
		item("INTERNALDATE ")
		s.enc.DateTime(m.InternalDate)
	}
	if req.items.Size {
		item("RFC822.SIZE ")
		s.enc.Number64(uint64(m.Size))
	}
	if req.items.Envelope {
		item("ENVELOPE ")
		s.enc.Raw(m.Envelope)
	}
	if req.items.Body {
		item("BODY ")
		s.enc.Raw(m.Body)
	}
	if req.items.BodyStructure {
		item("BODYSTRUCTURE ")
		s.enc.Raw(m.BodyStructure)
	}
	s.writeExtensions(req, m, item)
	for i := range min(len(m.Sections), len(req.labels)) {
		item(req.labels[i])
		s.writeSection(&m.Sections[i], req.items.Sections[i].Binary)
	}
	s.enc.RawString(")").CRLF()
	return s.enc.Err()
}

// tellVanished writes which of uids were expunged after since. What the client
// has a sequence number for is left to sync. RFC 7162 sections 3.2.6 and 3.2.10.1.
func (s *session) tellVanished(ctx context.Context, uids imap.UIDSet, since imap.ModSeq) error {
	gone, err := s.mbox.Vanished(ctx, uids, since)
	if err != nil {
		return err
	}
	s.writeVanished("* VANISHED (EARLIER) ", gone.Minus(s.view.uids))
	return nil
}

// writeExtensions writes the items of RFC 8474, 8514, 8970 and 3516. A message
// has no EMAILID where its home has none.
func (s *session) writeExtensions(req *fetchRequest, m *mailbox.Message, item func(string)) {
	if req.items.EmailID && m.EmailID != "" {
		item("EMAILID ")
		s.writeObjectID(m.EmailID)
	}
	if req.items.ThreadID {
		item("THREADID ")
		s.writeObjectID(m.ThreadID)
	}
	if req.items.SaveDate {
		item("SAVEDATE ")
		if m.SaveDate.IsZero() {
			s.enc.RawString("NIL")
		} else {
			s.enc.DateTime(m.SaveDate)
		}
	}
	if req.items.Preview {
		item("PREVIEW ")
		if m.HasPreview {
			s.enc.String(m.Preview)
		} else {
			s.enc.RawString("NIL")
		}
	}
	for i := range min(len(m.BinarySizes), len(req.sizes)) {
		item(req.sizes[i])
		s.enc.SP().Number64(uint64(m.BinarySizes[i]))
	}
}

// writeObjectID writes an ID as FETCH and STATUS show it. RFC 8474 section 7.
func (s *session) writeObjectID(id imap.ObjectID) {
	if id == "" {
		s.enc.RawString("NIL")
		return
	}
	s.enc.Special('(').Atom(string(id)).Special(')')
}

func (s *session) writeSection(d *mailbox.SectionData, binary bool) {
	switch {
	case d.Missing:
		s.enc.RawString(" NIL")
	case binary:
		s.enc.SP().Literal8(d.Size, d.Body)
	default:
		s.enc.SP().Literal(d.Size, d.Body)
	}
}
