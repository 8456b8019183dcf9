package mailboxtest

import (
	"fmt"
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// mark is a moment in a mailbox's history, as one player sees it.
type mark struct {
	modSeq imap.ModSeq
	gone   imap.UIDSet // UIDs of messages that were no more
}

// mark has the player remember this moment.
func (p *player) mark() {
	info := p.box.Info()
	p.marks = append(p.marks, mark{modSeq: p.seen(), gone: imap.UIDRange(1, info.UIDNext-1).Minus(info.UIDs)})
}

// seen is the player's HIGHESTMODSEQ now: of its status, as that of a session may
// stay behind. 0 if the mailbox can't be asked by its name.
func (p *player) seen() imap.ModSeq {
	info := p.box.Info()
	s, err := p.Status(p.Context(), info.Name, imap.StatusUIDValidity|imap.StatusHighestModSeq)
	if err != nil || s.UIDValidity != info.UIDValidity {
		return 0
	}
	return s.HighestModSeq
}

// at is the mark of an earlier moment, if there is one that counts.
func (p *player) at(n int) (mark, bool) {
	if len(p.marks) == 0 {
		return mark{}, false
	}
	m := p.marks[n%len(p.marks)]
	return m, m.modSeq > 0 && !p.NoModSeq
}

// modSeqMove asks what has changed since an earlier moment: what FETCH tells,
// what SEARCH finds, and what has vanished.
func (g *game) modSeqMove() (string, func(*player) string) {
	n, remember := g.rng.IntN(100), g.rng.IntN(2) == 0
	if g.tested.NoModSeq || g.oracle.NoModSeq {
		return "syncs", (*player).catchUp
	}
	return fmt.Sprintf("asks what has changed since moment %d", n), func(p *player) string {
		text := p.catchUp()
		if p.box == nil {
			return text
		}
		if m, ok := p.at(n); ok {
			text += p.changedText(m)
		}
		if remember {
			p.mark()
		}
		return text
	}
}

func (p *player) changedText(m mark) string {
	var changed []imap.UID
	items := &imap.FetchItems{Flags: true, ModSeq: true, ChangedSince: m.modSeq}
	err := p.box.Fetch(p.Context(), imap.UIDRange(1, 1<<32-2), items, func(got *mailbox.Message) error {
		if got.ModSeq <= m.modSeq {
			p.Errorf("message %d has %d, not more than %d", got.UID, got.ModSeq, m.modSeq)
		}
		changed = append(changed, got.UID)
		return nil
	})
	if err != nil {
		return codeText(err)
	}
	found, err := p.box.Search(p.Context(), &imap.SearchKey{Op: imap.SearchModSeq, ModSeq: m.modSeq + 1})
	if err != nil {
		return codeText(err)
	}
	if !slices.Equal(slices.Collect(found.UIDs.All()), changed) {
		p.Errorf("changed are %v, found %v", changed, found.UIDs)
	}
	return fmt.Sprintf(", changed %v, vanished %s", changed, p.vanishedSince(m))
}

// vanishedSince is what vanished for certain after the mark. A home may name more
// that is gone, but no message that exists, and none that never was.
func (p *player) vanishedSince(m mark) imap.UIDSet {
	info := p.box.Info()
	uids := imap.UIDRange(1, info.UIDNext+5)
	got, err := p.box.Vanished(p.Context(), uids, m.modSeq)
	if err != nil {
		p.Errorf("vanished: %v", err)
	}
	all := imap.UIDRange(1, info.UIDNext-1).Minus(info.UIDs)
	if wrong := got.Minus(all); !wrong.Empty() {
		p.Errorf("vanished are %s, which exist or never were", wrong)
	}
	return got.Minus(m.gone)
}

// conditionalMove stores unless it was changed since an earlier moment.
func (g *game) conditionalMove(uids imap.UIDSet) (string, func(*player) string) {
	n, flags := g.rng.IntN(100), g.flags()
	if g.tested.NoModSeq || g.oracle.NoModSeq || len(flags) == 0 {
		return "syncs", (*player).catchUp
	}
	return fmt.Sprintf("adds %v to %s unless it was changed since moment %d", flags, uids, n), func(p *player) string {
		m, ok := p.at(n)
		if !ok {
			return ""
		}
		change := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: flags, UnchangedSince: &m.modSeq}
		var told []fetched
		modified, err := p.box.Store(p.Context(), uids, change, func(m *mailbox.Message) error {
			p.hear(m)
			return collect(&told)(m)
		})
		return fmt.Sprintf("%s, modified %s, told %s", codeText(err), modified, flagPicture(told))
	}
}
