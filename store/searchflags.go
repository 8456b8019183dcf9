package store

import "github.com/roost-mail/roost/imap"

// searchFlags answers the programs that are asked for most, ALL and a flag or its
// absence, from the rows where they lie. ok is false for other programs.
func (h *handle) searchFlags(program *imap.SearchKey) (found imap.UIDSet, ok bool, err error) {
	key, not := program, false
	if key.Op == imap.SearchNot && len(key.Keys) == 1 {
		key, not = &key.Keys[0], true
	}
	if key.Op != imap.SearchFlag && key.Op != imap.SearchAll {
		return nil, false, nil
	}
	a := h.session.account
	a.mu.RLock()
	defer a.mu.RUnlock()
	if err := h.usable(); err != nil {
		return nil, true, err
	}
	has := h.flagTest(key)
	for i := range h.box.rows {
		r := &h.box.rows[i]
		if has(r) == not {
			continue
		}
		if n := len(found); n > 0 && found[n-1].Stop+1 == r.uid {
			found[n-1].Stop = r.uid
			continue
		}
		found = append(found, imap.Range{Start: r.uid, Stop: r.uid})
	}
	return found, true, nil
}

// flagTest is whether a message matches ALL or a flag, as the view sees it. The
// caller holds account.mu, for as long as it is used.
func (h *handle) flagTest(key *imap.SearchKey) func(*row) bool {
	sight := h.sight()
	own := sight.own & sight.st.ownBit(key.Flag)
	switch {
	case key.Op == imap.SearchAll:
		return func(*row) bool { return true }
	case own != 0:
		return func(r *row) bool { return sight.marks.at(r.uid).flags&own != 0 }
	case !imap.EqualFlag(key.Flag, imap.FlagSeen):
		with := make([]bool, len(h.box.flags.combos))
		for i, c := range h.box.flags.combos {
			with[i] = imap.HasFlag(c.plain, key.Flag)
		}
		return func(r *row) bool { return with[r.combo()] }
	}
	return func(r *row) bool { return r.flags&rowSeen != 0 }
}
