package remote

import (
	"context"
	"fmt"
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/mailbox"
)

// Store always has the peer say what became of the flags: some answer OK and
// leave out what they do not permit. Where they say nothing of a message that
// should have changed, they are asked.
//
// With UnchangedSince the peer judges and changes in one step. That is not sent
// twice: the second would find its own change.
func (b *box) Store(ctx context.Context, uids imap.UIDSet, change mailbox.FlagChange, emit func(*mailbox.Message) error) (imap.UIDSet, error) {
	if err := b.writable(); err != nil {
		return nil, err
	}
	var modified imap.UIDSet
	parts := chunks(uids)
	if change.UnchangedSince != nil {
		parts = b.pieces(uids)
	}
	for part := range parts {
		s := &storing{box: b, uids: part, change: change, results: map[imap.UID]result{}}
		err := s.run(ctx, emit)
		modified = modified.Union(s.modified)
		if err != nil {
			return modified, err
		}
	}
	return modified, nil
}

func (s *storing) run(ctx context.Context, emit func(*mailbox.Message) error) error {
	if s.needsOthers() {
		if err := s.box.askFlags(ctx, s.uids); err != nil {
			return err
		}
	}
	s.expect()
	err := s.box.do(ctx, s.change.UnchangedSince == nil, func(c *imapclient.Conn) error {
		if s.change.UnchangedSince != nil && !s.box.modSeqs(c) {
			return imap.Errorf(imap.CodeCannot, "Mailbox has no modification sequences")
		}
		if err := s.box.learnAhead(ctx, c, s.uids, s.change.ModSeqs || s.change.UnchangedSince != nil, s.learning()); err != nil {
			return err
		}
		for _, step := range s.steps() {
			if s.uids.Empty() {
				break
			}
			status, err := c.Do(ctx, s.handler(), step)
			if status == nil || err != nil && status.Code != "MODIFIED" {
				return err
			}
			if err := s.spare(status); err != nil {
				return err
			}
		}
		return s.ask(ctx, c)
	})
	if err == nil && s.refused() {
		err = imap.NoPermission()
	}
	if err != nil {
		s.untold()
		return err
	}
	return s.tell(emit)
}

// spare takes down which messages the peer has left as they are, because they
// were changed later (RFC 7162 section 3.1.3).
func (s *storing) spare(status *imapclient.Status) error {
	if status.Code != "MODIFIED" {
		return nil
	}
	set, err := imap.ParseNumSet(status.Args)
	if err != nil {
		return unknown(fmt.Errorf("MODIFIED: %w", err))
	}
	s.modified = s.modified.Union(set.Resolve(0).Intersect(s.uids))
	s.uids = s.uids.Minus(s.modified)
	s.box.event(func(st *state) {
		for uid, r := range s.results {
			if !s.modified.Contains(uid) {
				continue
			}
			if !sameFlags(r.before, r.flags) {
				st.touch(uid) // what came of it is told by the next Sync
			}
			delete(s.results, uid)
		}
	})
	return nil
}

// pieces cuts a set into parts of a thousand messages, so that an answer which
// names any of them is no longer than a command may be.
func (b *box) pieces(uids imap.UIDSet) func(yield func(imap.UIDSet) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var known []imap.UID
	for i := range b.state.messages {
		if uid := b.state.messages[i].uid; uids.Contains(uid) {
			known = append(known, uid)
		}
	}
	return func(yield func(imap.UIDSet) bool) {
		for part := range slices.Chunk(known, maxRanges) {
			if !yield(imap.UIDSetOf(part...)) {
				return
			}
		}
	}
}

// untold leaves it to the next Sync to tell what came while the STORE was refused.
func (s *storing) untold() {
	s.box.event(func(st *state) {
		for uid, r := range s.results {
			if !sameFlags(r.before, r.flags) {
				st.touch(uid)
			}
		}
	})
}

// storing is a STORE under way.
type storing struct {
	box     *box
	uids    imap.UIDSet
	change  mailbox.FlagChange
	results map[imap.UID]result

	modified imap.UIDSet // spared by the peer
}

// result is what is known of a message: before the peer has said anything, how
// it was.
type result struct {
	before, flags []imap.Flag
	modSeq        imap.ModSeq
	answered      bool
	took          bool // some of the change was in effect, or something has changed
}

// expect takes down how the messages are.
func (s *storing) expect() {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	for i := range s.box.state.messages {
		s.expectOf(&s.box.state, &s.box.state.messages[i])
	}
}

func (s *storing) expectOf(st *state, m *message) {
	if !s.uids.Contains(m.uid) {
		return
	}
	modSeq := m.modSeq
	if m.before {
		modSeq = st.opened
	}
	s.results[m.uid] = result{before: m.flags(), flags: m.flags(), modSeq: modSeq, took: s.tookOn(m.flags())}
}

// learning takes down how those messages are whose flags were not known, ahead
// of the STORE.
func (s *storing) learning() *imapclient.Handler {
	return &imapclient.Handler{Fetch: func(m *imapclient.FetchData) error {
		s.box.event(func(st *state) {
			st.note(m, false)
			if kept := st.at(m); kept != nil {
				s.expectOf(st, kept)
			}
		})
		return nil
	}}
}

// needsOthers reports whether a change names flags by what messages have.
func (s *storing) needsOthers() bool {
	return s.change.Op == mailbox.FlagsReplace &&
		(s.change.Within != 0 && s.change.Within != imap.AllClasses || len(s.box.account.cfg.Apart) > 0)
}

// steps are the commands that make the change. The first has the condition.
func (s *storing) steps() []func(*imapwire.Encoder) {
	step := func(item string, flags []imap.Flag, since *imap.ModSeq) func(*imapwire.Encoder) {
		return func(e *imapwire.Encoder) {
			e.RawString("UID STORE ").AppendFunc(s.uids.AppendTo)
			if since != nil {
				e.RawString(" (UNCHANGEDSINCE ").Number64(uint64(*since)).Special(')')
			}
			e.SP().RawString(item).SP().Flags(flags)
		}
	}
	within, since := s.change.Within, s.change.UnchangedSince
	if within == 0 {
		within = imap.AllClasses
	}
	flags := within.Only(s.change.Flags)
	switch {
	case s.change.Op == mailbox.FlagsAdd:
		return []func(*imapwire.Encoder){step("+FLAGS", flags, since)}
	case s.change.Op == mailbox.FlagsRemove:
		return []func(*imapwire.Encoder){step("-FLAGS", flags, since)}
	case !s.needsOthers():
		return []func(*imapwire.Encoder){step("FLAGS", flags, since)}
	}
	// IMAP can't replace some flags only.
	others := slices.DeleteFunc(within.Only(s.box.flagsOf(s.uids)), func(f imap.Flag) bool { return imap.HasFlag(flags, f) })
	var steps []func(*imapwire.Encoder)
	if len(others) > 0 || since != nil {
		steps = append(steps, step("-FLAGS", others, since))
	}
	if len(flags) > 0 {
		steps = append(steps, step("+FLAGS", flags, nil))
	}
	return steps
}

func (s *storing) handler() *imapclient.Handler {
	return &imapclient.Handler{Fetch: func(m *imapclient.FetchData) error {
		s.box.event(func(st *state) { s.note(st, m) })
		return nil
	}}
}

// note takes in what the peer says of a message. A message that this STORE is
// not about belongs to the next Sync.
func (s *storing) note(st *state, m *imapclient.FetchData) {
	kept := st.at(m)
	if kept == nil {
		return
	}
	uid := kept.uid
	before, mine := s.results[uid]
	if !mine || m.Has&imapclient.ItemFlags == 0 {
		st.note(m, false)
		return
	}
	before.flags, before.answered = withoutRecent(m.Flags), true
	before.took = before.took || s.tookOn(before.flags) || before.modSeq != 0 && m.ModSeq > before.modSeq
	before.modSeq = max(before.modSeq, m.ModSeq)
	s.results[uid] = before
	// A silent client knows its own change; what else is new it has to be told.
	expected, _ := s.change.Apply(before.before)
	told := !s.change.Silent || sameFlags(before.flags, expected) || s.missed(before)
	_, pending := st.changed[uid]
	st.note(m, told)
	if pending && s.change.Silent {
		st.touch(uid)
	}
	if !told {
		st.touch(uid)
	}
}

// missed reports whether the change has not come into effect, or not all of it.
func (s *storing) missed(r result) bool {
	_, missing := s.change.Apply(r.flags)
	return missing
}

// ask fetches the flags of messages of which nothing was said though they
// should have changed.
func (s *storing) ask(ctx context.Context, c *imapclient.Conn) error {
	var silent []imap.UID
	for uid, r := range s.results {
		if !r.answered && s.missed(r) {
			silent = append(silent, uid)
		}
	}
	if len(silent) == 0 {
		return nil
	}
	defer s.forgetGone(silent)
	_, err := c.Do(ctx, s.handler(), func(e *imapwire.Encoder) {
		e.RawString("UID FETCH ").AppendFunc(imap.UIDSetOf(silent...).AppendTo).SP().RawString(s.box.flagItems(c))
	})
	return err
}

// forgetGone drops those that were asked for in vain.
func (s *storing) forgetGone(asked []imap.UID) {
	for _, uid := range asked {
		if !s.results[uid].answered {
			delete(s.results, uid)
		}
	}
}

// refused reports whether the peer did nothing at all of what was to be done.
// Another session may have undone it before the peer had answered.
func (s *storing) refused() bool {
	for _, r := range s.results {
		if r.took {
			return false
		}
	}
	return len(s.results) > 0 && len(s.change.Flags) > 0
}

// tookOn reports whether a message with those flags has some of the change.
func (s *storing) tookOn(flags []imap.Flag) bool {
	return slices.ContainsFunc(s.change.Flags, func(f imap.Flag) bool {
		return imap.HasFlag(flags, f) == (s.change.Op != mailbox.FlagsRemove)
	})
}

// tell gives emit the messages that exist still, in order. Of a silent change
// those that it did not take effect on.
func (s *storing) tell(emit func(*mailbox.Message) error) error {
	var out []mailbox.Message
	s.box.mu.Lock()
	for _, m := range s.box.state.messages {
		r, mine := s.results[m.uid]
		switch {
		case !mine:
		case !s.change.Silent || s.missed(r):
			out = append(out, mailbox.Message{UID: m.uid, Flags: r.flags, ModSeq: r.modSeq})
		case s.change.ModSeqs:
			out = append(out, mailbox.Message{UID: m.uid, ModSeq: r.modSeq, ModSeqAlone: true})
		}
	}
	s.box.mu.Unlock()
	if emit == nil {
		return nil
	}
	for i := range out {
		if err := emit(&out[i]); err != nil {
			return err
		}
	}
	return nil
}
