package imapserver

import (
	"context"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// copy is COPY. RFC 3501 section 6.4.7, RFC 4315 section 3.
func (s *session) copy(ctx context.Context, cmd *command) error {
	uids, dest, err := s.parseCopy(ctx, cmd)
	if err != nil || uids.Empty() {
		return err
	}
	data, err := s.mbox.Copy(ctx, uids, dest)
	if err != nil {
		return err
	}
	if dest == s.name {
		cmd.fresh, s.appended = true, data.Dest
	}
	if data.UIDValidity != 0 && !data.Source.Empty() {
		cmd.code, cmd.args = "COPYUID", copyUID(&data)
	}
	return nil
}

// move is MOVE. RFC 6851 section 3: the COPYUID goes ahead of the EXPUNGE
// responses, which come from sync.
func (s *session) move(ctx context.Context, cmd *command) error {
	uids, dest, err := s.parseCopy(ctx, cmd)
	if err != nil || uids.Empty() {
		return err
	}
	data, err := s.mbox.Move(ctx, uids, dest)
	if err != nil {
		return err
	}
	if dest == s.name {
		s.appended = data.Dest
	}
	if data.UIDValidity != 0 && !data.Source.Empty() {
		s.enc.RawString("* OK ").Code("COPYUID", copyUID(&data)).Text("Moved UIDs.").CRLF()
	}
	return nil
}

// parseCopy reads the arguments of COPY and MOVE. No message may be meant: then
// there is nothing to do, and the answer is OK.
func (s *session) parseCopy(ctx context.Context, cmd *command) (imap.UIDSet, string, error) {
	set, err := s.parseSet()
	if err != nil {
		return nil, "", err
	}
	dest, err := s.parseMailbox(cmd)
	if err != nil {
		return nil, "", err
	}
	uids, err := s.resolve(set, cmd.is(byUID))
	if err != nil {
		return nil, "", err
	}
	switch n := s.view.countOf(uids); n {
	case 0:
		cmd.text = "No messages found."
		err = s.reachable(ctx, uids)
		uids = nil
	case s.view.gone.Intersect(uids).Len():
		err = imap.Errorf(imap.CodeExpungeIssued, "The messages were already expunged.")
	}
	return uids, dest, err
}

// reachable fails if the mailbox's home can't be asked: then what the client is
// told of no message may be wrong.
func (s *session) reachable(ctx context.Context, uids imap.UIDSet) error {
	return s.mbox.Fetch(ctx, uids, &imap.FetchItems{Flags: true}, func(*mailbox.Message) error { return nil })
}

func copyUID(d *imap.CopyData) string {
	b := imap.UIDSetOf(imap.UID(d.UIDValidity)).AppendTo(nil)
	b = d.Source.AppendTo(append(b, ' '))
	return string(d.Dest.AppendTo(append(b, ' ')))
}
