package remote

import (
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
)

// handler takes what the peer tells of the mailbox without being asked. A
// Watch hears of it at once.
func (b *box) handler() imapclient.Handler {
	return imapclient.Handler{
		Status: b.onStatus,
		Exists: func(n uint32) { b.event(func(s *state) { s.setExists(int(n)) }) },
		Expunge: func(seq imap.SeqNum) {
			b.event(func(s *state) { s.expunge(seq) })
		},
		Vanished: func(uids imap.UIDSet, earlier bool) {
			b.event(func(s *state) { s.vanish(uids, earlier) })
		},
		Flags: func(flags []imap.Flag) {
			b.event(func(s *state) { s.setFlags(flags, s.permanent, s.readOnly) })
		},
		Fetch: func(m *imapclient.FetchData) error {
			b.event(func(s *state) { s.note(m, false) })
			return nil
		},
	}
}

// onStatus takes the codes by which a peer tells that the mailbox is not what
// it was.
func (b *box) onStatus(status *imapclient.Status) {
	b.event(func(s *state) {
		switch status.Code {
		case "PERMANENTFLAGS":
			s.setFlags(s.flags, flagList(status.Args), s.readOnly)
		case "READ-ONLY", "READ-WRITE":
			s.setFlags(s.flags, s.permanent, status.Code == "READ-ONLY")
		case "HIGHESTMODSEQ":
			s.heldBack = imap.ModSeq(number(status.Args))
			if !s.noModSeq {
				s.highestModSeq = max(s.highestModSeq, s.heldBack)
			}
		case "UIDNEXT":
			s.uidNext = max(s.uidNext, imap.UID(number(status.Args)))
		}
		if status.Kind == imapclient.No {
			s.warned(status.Code)
		}
	})
}

// warned takes an untagged NO, by which Roost tells the end of a mailbox.
func (s *state) warned(code imap.Code) {
	switch code {
	case imap.CodeNonExistent:
		s.end(&s.gone)
	case imap.CodeNoPerm:
		s.revoked = true
	case imap.CodeUnavailable:
		s.unavailable = true
	}
}

// event changes the state and wakes a Watch.
func (b *box) event(change func(*state)) {
	b.mu.Lock()
	change(&b.state)
	incomplete, pending, w := b.state.incomplete(), b.state.pending(), b.watching
	b.mu.Unlock()
	if w != nil {
		w.hear(incomplete, pending)
	}
}

// flagsOf are all flags that any of the messages has.
func (b *box) flagsOf(uids imap.UIDSet) []imap.Flag {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []imap.Flag
	for _, m := range b.state.messages {
		if !uids.Contains(m.uid) {
			continue
		}
		for _, f := range m.flags() {
			if !imap.HasFlag(all, f) {
				all = append(all, f)
			}
		}
	}
	return slices.Clip(all)
}
