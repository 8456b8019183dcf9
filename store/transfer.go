package store

import (
	"context"
	"slices"

	"github.com/roost-mail/roost/imap"
)

// Expunge implements mailbox.Mailbox.
func (h *handle) Expunge(ctx context.Context, uids imap.UIDSet, all bool) error {
	if h.info.ReadOnly {
		return errReadOnly
	}
	return h.session.submit(ctx, &txn{durable: true, alone: true, build: func(b *builder) error {
		if err := b.loaded(h.box); err != nil {
			return err
		}
		var gone []imap.UID
		add := func(rows []row) {
			for i := range rows {
				if h.box.flags.deleted(rows[i].flags) {
					gone = append(gone, imap.UID(rows[i].uid))
				}
			}
		}
		if all {
			add(h.box.rows)
		} else {
			for _, r := range uids {
				add(h.box.within(r))
			}
		}
		if len(gone) > 0 {
			b.add(&recExpunge{box: h.box.id, modseq: b.modseq(), uids: imap.UIDSetOf(gone...), kept: b.keptTime()})
		}
		return nil
	}})
}

// Copy implements mailbox.Mailbox.
func (h *handle) Copy(ctx context.Context, uids imap.UIDSet, dest string) (imap.CopyData, error) {
	return h.transfer(ctx, uids, dest, false)
}

// Move implements mailbox.Mailbox.
func (h *handle) Move(ctx context.Context, uids imap.UIDSet, dest string) (imap.CopyData, error) {
	if h.info.ReadOnly {
		return imap.CopyData{}, errReadOnly
	}
	return h.transfer(ctx, uids, dest, true)
}

func (h *handle) transfer(ctx context.Context, uids imap.UIDSet, dest string, move bool) (imap.CopyData, error) {
	var data imap.CopyData
	err := h.session.submit(ctx, &txn{durable: true, alone: true, build: func(b *builder) error {
		if err := b.loaded(h.box); err != nil {
			return err
		}
		to, err := b.box(dest, imap.NoMailboxTryCreate)
		if err != nil {
			return err
		}
		var rows []row
		for _, r := range uids {
			rows = append(rows, h.box.within(r)...)
		}
		if len(rows) == 0 {
			return nil
		}
		if err := to.flags.room(h.box.keywordsOf(rows)); err != nil {
			return err
		}
		if err := b.admitCopies(h, to, rows, move); err != nil {
			return err
		}
		data, err = b.copyRows(h.box, rows, to.id, to.mode, func() (uint32, error) { return b.uid(to) })
		if err != nil {
			return err
		}
		data.UIDValidity = to.uidValidity
		if move {
			b.add(&recExpunge{box: h.box.id, modseq: b.modseq(), uids: data.Source})
		}
		return nil
	}})
	if err != nil {
		return imap.CopyData{}, err
	}
	return data, nil
}

// keywordsOf are the keywords that some of rows have.
func (b *box) keywordsOf(rows []row) []string {
	seen := make([]bool, len(b.flags.combos))
	var keywords []string
	for i := range rows {
		if c := rows[i].combo(); !seen[c] {
			seen[c] = true
			keywords = append(keywords, b.flags.combos[c].list.keywords...)
		}
	}
	slices.Sort(keywords)
	return slices.Compact(keywords)
}

// copyRows makes the records that put rows of from into the mailbox dest, with
// everyone's own flags. What readers share in from and have for themselves in
// dest is to each as they saw it.
func (b *builder) copyRows(from *box, rows []row, dest uint32, mode ownMode, uid func() (uint32, error)) (imap.CopyData, error) {
	rec := &recCopy{box: dest, modseq: b.modseq(), saved: b.seconds()}
	numbers := map[uint32]uint32{}
	own, becomes := ownCollector{}, ownFlags(0)
	if p := b.st.policy; p != nil {
		becomes = p.in(mode) &^ p.in(from.mode)
	}
	source, target := make([]imap.UID, len(rows)), make([]imap.UID, len(rows))
	for i := range rows {
		r := &rows[i]
		n, known := numbers[r.combo()]
		if !known {
			n = uint32(len(rec.flags))
			numbers[r.combo()] = n
			rec.flags = append(rec.flags, from.flags.combos[r.combo()].list)
		}
		u, err := uid()
		if err != nil {
			return imap.CopyData{}, err
		}
		rec.items = append(rec.items, copyItem{uid: u, blob: r.blob, flags: n, seen: r.flags&rowSeen != 0, date: r.date, size: r.size})
		source[i], target[i] = imap.UID(r.uid), imap.UID(u)
		shared := b.st.ownOf(&from.flags.combos[r.combo()].list, r.flags&rowSeen != 0)
		own.add(from, r.uid, u, func(f ownFlags) ownFlags { return f&^becomes | shared&becomes })
	}
	b.addCopy(rec, own.list())
	return imap.CopyData{Source: imap.UIDSetOf(source...), Dest: imap.UIDSetOf(target...)}, nil
}

// emptyInboxInto is the RENAME of INBOX: its messages move as by MOVE into a new
// mailbox (RFC 9051 section 6.3.6).
func (b *builder) emptyInboxInto(inbox *box, to string) error {
	dest, err := b.create(to)
	if err != nil {
		return err
	}
	b.copyMetadata(inbox.metadata, dest)
	mode := b.modeAbove(to)
	if inbox.metadata[""][imap.MetadataPrivateFlags] != nil && inbox.mode != mode {
		mode = inbox.mode
		b.add(&recMode{modseq: b.modseq(), boxes: []boxMode{{dest, mode}}})
	}
	if len(inbox.rows) == 0 {
		return nil
	}
	next := uint32(0)
	data, err := b.copyRows(inbox, inbox.rows, dest, mode, func() (uint32, error) { next++; return next, nil })
	if err != nil {
		return err
	}
	b.add(&recExpunge{box: inbox.id, modseq: b.modseq(), uids: data.Source})
	return nil
}
