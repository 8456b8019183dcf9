package remote

import (
	"errors"
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/mailbox"
)

// maxMessages bounds what a peer can make us hold of a mailbox.
const maxMessages = 10_000_000

var errNoUIDs = errors.New("server tells no UIDVALIDITY")

// state is what is known of an open mailbox: the peer's view of it, and what
// our session was told (info). box.mu guards it.
type state struct {
	info mailbox.Info

	messages []message // by the peer's sequence numbers, as far as their UIDs are known
	exists   int       // how many there are
	confused bool      // the numbers can't be right: all is to be fetched again
	before   *earlier  // from renew or reconsider to keep or restore, else nil
	resync   bool      // from reconsider to keep or restore: messages are those from before

	uidNext       imap.UID
	known         imap.UID // uidNext as of the last SELECT or answer
	highestModSeq imap.ModSeq
	synced        imap.ModSeq // all changes up to here are known
	heldBack      imap.ModSeq // the peer has said that it has told no more than this; else 0
	noModSeq      bool        // the peer has no modification sequences for the mailbox
	flags         []imap.Flag
	permanent     []imap.Flag
	readOnly      bool
	common        map[string]*flagSet // one for each combination of flags
	opened        imap.ModSeq         // HIGHESTMODSEQ of the first SELECT

	moved   bool                  // messages came or went since the last take
	changed map[imap.UID]struct{} // flags that the session has not been told

	flagsChanged, gone, revoked, unavailable bool // to be told
	ended                                    bool // gone, and told or not
	lost                                     bool // the peer could not be asked last time
	denied                                   bool // the peer refused to select again, and that was told
}

// earlier is what was known before all was asked for again.
type earlier struct {
	messages []message
	exists   int
}

// message is what is kept of a message.
type message struct {
	uid    imap.UID
	recent bool
	before bool     // modSeq is not known, but that it is no later than s.opened
	set    *flagSet // nil until they are asked for (learn) or told
	modSeq imap.ModSeq
}

// flagSet is flags without \Recent. It is shared by messages and never changed.
type flagSet struct{ flags []imap.Flag }

// flags are nil if they are not known.
func (m *message) flags() []imap.Flag {
	if m.set == nil {
		return nil
	}
	return m.set.flags
}

func withoutRecent(flags []imap.Flag) []imap.Flag {
	return slices.DeleteFunc(slices.Clone(flags), func(f imap.Flag) bool { return f == imap.FlagRecent })
}

func (s *state) lastUID() imap.UID {
	if len(s.messages) == 0 {
		return 0
	}
	return s.messages[len(s.messages)-1].uid
}

// incomplete reports whether there are messages whose UIDs are not known.
func (s *state) incomplete() bool {
	return !s.ended && s.before == nil && (s.confused || s.exists != len(s.messages))
}

// find is the message with that UID, nil if it is not known.
func (s *state) find(uid imap.UID) *message {
	i, found := slices.BinarySearchFunc(s.messages, uid, compareUID)
	if !found {
		return nil
	}
	return &s.messages[i]
}

func compareUID(m message, uid imap.UID) int { return int(int64(m.uid) - int64(uid)) }

// share gives the one set that is used for a combination of flags.
func (s *state) share(flags []imap.Flag) *flagSet {
	var buf [128]byte
	key := buf[:0]
	for _, f := range flags {
		if f != imap.FlagRecent {
			key = append(append(key, f...), ' ')
		}
	}
	if known, ok := s.common[string(key)]; ok {
		return known
	}
	if s.common == nil || len(s.common) > 10_000 {
		s.common = map[string]*flagSet{}
	}
	set := &flagSet{withoutRecent(flags)}
	s.common[string(key)] = set
	return set
}

// renew forgets the messages until keep or restore: the peer is asked for all
// of them, and may count them anew.
func (s *state) renew() {
	s.before = &earlier{s.messages, s.exists}
	s.messages, s.confused = nil, false
}

// reconsider keeps the messages until the peer tells what has changed since
// syncedTo, for keep or restore.
func (s *state) reconsider() {
	s.before, s.resync = &earlier{s.messages, s.exists}, true
	s.messages = slices.Clone(s.messages)
}

// syncedTo is where the peer can go on telling, 0 if it has to begin anew.
func (s *state) syncedTo() imap.ModSeq {
	if s.info.UIDValidity == 0 || s.incomplete() || s.noModSeq {
		return 0
	}
	return s.synced
}

// settle notes that nothing is missing of what happened so far, as at the end of
// a command.
func (s *state) settle() {
	s.known = s.uidNext
	s.synced = s.highestModSeq
	if s.heldBack > 0 {
		s.synced = min(s.synced, s.heldBack)
	}
	s.heldBack = 0
}

// restore goes back to what was known before renew or reconsider.
func (s *state) restore() {
	s.messages, s.exists, s.before, s.resync = s.before.messages, s.before.exists, nil, false
}

// keep notes what differs from before renew.
func (s *state) keep() {
	old := state{messages: s.before.messages}
	s.before, s.moved = nil, true
	if s.resync {
		s.resync, s.confused = false, s.confused || s.exists < len(s.messages)
	}
	for i := range s.messages {
		m := &s.messages[i]
		if before := old.find(m.uid); before != nil {
			m.recent = before.recent
			switch {
			case m.set == nil: // and before: what has changed since was told
			case before.set == nil && m.modSeq > 0 && m.modSeq <= s.opened:
			case before.set == nil || !sameFlags(before.flags(), m.flags()):
				s.touch(m.uid)
			}
		}
	}
}

// add takes a message that is new: the one behind the last.
func (s *state) add(m message) {
	if len(s.messages) == maxMessages || m.uid <= s.lastUID() {
		s.confused = true
		return
	}
	s.messages = append(s.messages, m)
	s.moved = s.moved || s.before == nil
	s.highestModSeq = max(s.highestModSeq, m.modSeq)
	s.uidNext = max(s.uidNext, m.uid+1)
}

func (s *state) setExists(n int) {
	s.exists = n
	if n < len(s.messages) && !s.resync {
		s.confused = true
	}
}

func (s *state) expunge(seq imap.SeqNum) {
	if seq == 0 || int(seq) > s.exists {
		s.confused = true
		return
	}
	s.exists--
	if i := int(seq) - 1; i < len(s.messages) {
		delete(s.changed, s.messages[i].uid)
		s.messages = slices.Delete(s.messages, i, i+1)
		s.moved = s.moved || s.before == nil
	}
}

// vanish takes messages out by their UIDs. What happened earlier is not counted
// any more. Of what is not known yet, numbers are missing behind the last.
func (s *state) vanish(uids imap.UIDSet, earlier bool) {
	ahead := uids.Intersect(imap.UIDRange(s.lastUID()+1, 1<<32-1)).Len()
	before := len(s.messages)
	first, _ := slices.BinarySearchFunc(s.messages, uids.Min(), compareUID)
	kept := slices.DeleteFunc(s.messages[first:], func(m message) bool {
		gone := uids.Contains(m.uid)
		if gone {
			delete(s.changed, m.uid)
		}
		return gone
	})
	s.messages = s.messages[:first+len(kept)]
	gone := before - len(s.messages)
	s.moved = s.moved || gone > 0 && s.before == nil
	switch {
	case earlier:
	case gone+ahead != uids.Len() || gone+ahead > s.exists:
		s.confused = true
		s.exists = max(0, s.exists-gone)
	default:
		s.exists -= gone + ahead
	}
}

// number takes the UIDs of all messages of a mailbox that was just opened. If
// they can't be those, incomplete will say so.
func (s *state) number(uids imap.UIDSet) {
	n := uids.Len()
	if len(s.messages) > 0 || n > s.exists || n > maxMessages {
		s.confused = true
		return
	}
	s.messages = make([]message, 0, n)
	for uid := range uids.All() {
		s.messages = append(s.messages, message{uid: uid})
	}
	s.uidNext = max(s.uidNext, uids.Max()+1)
}

// mark notes which messages are recent.
func (s *state) mark(recent imap.UIDSet) {
	for _, r := range recent {
		i, _ := slices.BinarySearchFunc(s.messages, imap.UID(r.Start), compareUID)
		for ; i < len(s.messages) && s.messages[i].uid <= imap.UID(r.Stop); i++ {
			s.messages[i].recent = true
		}
	}
}

// unknown are those of uids whose flags are not known; if exact is set, also those
// whose modification sequences are not.
func (s *state) unknown(uids imap.UIDSet, exact bool) imap.UIDSet {
	var unknown []imap.UID
	for _, r := range uids {
		i, _ := slices.BinarySearchFunc(s.messages, imap.UID(r.Start), compareUID)
		for ; i < len(s.messages) && s.messages[i].uid <= imap.UID(r.Stop); i++ {
			if m := &s.messages[i]; m.set == nil || exact && m.before {
				unknown = append(unknown, s.messages[i].uid)
			}
		}
	}
	return imap.UIDSetOf(unknown...)
}

// fill gives flags to all messages of which they are not known. Those that have
// changed since they were opened have been told of meanwhile.
func (s *state) fill(flags []imap.Flag, found []imap.UIDSet) {
	var has []imap.Flag
	for i := range s.messages {
		m := &s.messages[i]
		if m.set != nil {
			continue
		}
		has = has[:0]
		for j := range found {
			for len(found[j]) > 0 && found[j][0].Stop < uint32(m.uid) {
				found[j] = found[j][1:]
			}
			if len(found[j]) > 0 && found[j][0].Start <= uint32(m.uid) {
				has = append(has, flags[j])
			}
		}
		m.set, m.before = s.share(has), m.modSeq == 0
	}
}

// at is the message that a FETCH response is about, nil if it is not known.
func (s *state) at(m *imapclient.FetchData) *message {
	i := int(m.Seq) - 1
	if i < 0 || i >= len(s.messages) {
		return nil
	}
	if m.Has&imapclient.ItemUID != 0 && m.UID != s.messages[i].uid {
		s.confused = true
		return nil
	}
	return &s.messages[i]
}

// newlySeen reports whether a message was without \Seen before.
func (s *state) newlySeen(m *imapclient.FetchData) bool {
	kept := s.at(m)
	return kept != nil && !imap.HasFlag(kept.flags(), imap.FlagSeen) && imap.HasFlag(m.Flags, imap.FlagSeen)
}

// note takes in what a FETCH response says of flags. The session is told of a
// change by the next Sync unless it learns of it otherwise (told).
func (s *state) note(m *imapclient.FetchData, told bool) {
	const whole = imapclient.ItemUID | imapclient.ItemFlags
	if int(m.Seq) == len(s.messages)+1 && m.Has&whole == whole {
		recent := imap.HasFlag(m.Flags, imap.FlagRecent)
		s.add(message{uid: m.UID, recent: recent, set: s.share(m.Flags), modSeq: m.ModSeq})
		return
	}
	kept := s.at(m)
	if kept == nil {
		return
	}
	newer := kept.set != nil && m.ModSeq > kept.modSeq && (kept.modSeq != 0 || kept.before && m.ModSeq > s.opened)
	if m.ModSeq > 0 {
		kept.modSeq, kept.before = max(kept.modSeq, m.ModSeq), false
	}
	s.highestModSeq = max(s.highestModSeq, m.ModSeq)
	if m.Has&imapclient.ItemFlags == 0 || kept.set == nil && kept.modSeq == 0 && !s.noModSeq {
		return
	}
	set := s.share(m.Flags)
	changed := set != kept.set && !sameFlags(set.flags, kept.flags())
	switch {
	case kept.set == nil: // they are news if they have changed since SELECT
		kept.set, changed = set, s.noModSeq || kept.modSeq > s.opened
	case changed:
		kept.set = set
	}
	switch {
	case told:
		delete(s.changed, kept.uid)
	case changed || newer: // what changed and changed back is news to who stores conditionally
		s.touch(kept.uid)
	}
}

func (s *state) touch(uid imap.UID) {
	if s.changed == nil {
		s.changed = map[imap.UID]struct{}{}
	}
	s.changed[uid] = struct{}{}
}

func (s *state) setFlags(flags, permanent []imap.Flag, readOnly bool) {
	if sameFlags(s.flags, flags) && sameFlags(s.permanent, permanent) && s.readOnly == readOnly {
		return
	}
	s.flags, s.permanent, s.readOnly, s.flagsChanged = flags, permanent, readOnly, true
}

// end notes that nothing works on the mailbox any more, and why.
func (s *state) end(why *bool) {
	if !s.ended {
		s.ended, *why = true, true
	}
}

// take is what the session has to be told, and moves info on.
func (s *state) take() mailbox.Changes {
	c := mailbox.Changes{Gone: s.gone, Revoked: s.revoked, Unavailable: s.unavailable, FlagsChanged: s.flagsChanged}
	s.gone, s.revoked, s.unavailable, s.flagsChanged = false, false, false, false
	if s.ended || s.before != nil {
		return c
	}
	if s.moved {
		s.takeMoved(&c)
	}
	for uid := range s.changed {
		if m := s.find(uid); m != nil && !c.New.Contains(uid) {
			c.Flags = append(c.Flags, mailbox.Message{UID: uid, Flags: m.flags(), ModSeq: m.modSeq})
		}
	}
	slices.SortFunc(c.Flags, func(a, b mailbox.Message) int { return int(int64(a.UID) - int64(b.UID)) })
	clear(s.changed)
	s.info.Flags, s.info.PermanentFlags, s.info.ReadOnly = s.flags, s.permanent, s.readOnly
	s.info.UIDNext, s.info.HighestModSeq = s.uidNext, s.highestModSeq
	c.UIDNext, c.HighestModSeq = s.uidNext, s.highestModSeq
	return c
}

func (s *state) takeMoved(c *mailbox.Changes) {
	s.moved = false
	all, recent := make([]imap.UID, 0, len(s.messages)), []imap.UID(nil)
	for _, m := range s.messages {
		all = append(all, m.uid)
		if m.recent {
			recent = append(recent, m.uid)
		}
	}
	now, told := imap.UIDSetOf(all...), s.info.UIDs
	c.Vanished, c.New = told.Minus(now), now.Minus(told)
	c.Recent = imap.UIDSetOf(recent...).Intersect(c.New)
	s.info.UIDs, s.info.Recent = now, imap.UIDSetOf(recent...)
}

// unseenAt notes the first message that is not seen, which is the one with that
// number as far as the flags are not known.
func (s *state) unseenAt(seq imap.SeqNum) {
	s.info.Unseen = 0
	for i := range s.messages {
		m := &s.messages[i]
		if m.set == nil && i+1 < int(seq) || imap.HasFlag(m.flags(), imap.FlagSeen) {
			continue
		}
		if m.set == nil && seq == 0 {
			return
		}
		s.info.Unseen = m.uid
		return
	}
}

// pending reports whether take would give anything.
func (s *state) pending() bool {
	return s.moved || len(s.changed) > 0 || s.flagsChanged || s.gone || s.revoked || s.unavailable
}

func sameFlags(a, b []imap.Flag) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(f imap.Flag) bool { return !imap.HasFlag(b, f) })
}
