package store

import (
	"slices"

	"github.com/roost-mail/roost/imap"
)

// eventKind says what happened to a mailbox.
type eventKind uint8

const (
	eventNew eventKind = iota
	eventExpunge
	eventFlags  // as all see them, those among them perhaps that readers may have for themselves
	eventShared // such flags alone, as those see them who share them
	eventOwn    // a reader's own
	eventRights
	eventGone
	eventBroken // the account is unavailable
)

// event is a change that handles catch up with. uids may name more than exists.
type event struct {
	kind   eventKind
	reader string
	uids   imap.UIDSet
	origin *handle
}

// maxEvents is how many events a mailbox keeps for handles that are behind. Who
// is further behind compares all messages.
const maxEvents = 1024

// note adds an event. The caller holds account.mu for writing.
func (s *state) note(b *box, e event) {
	if len(b.handles) == 0 {
		b.base += uint64(len(b.events)) + 1
		b.events = nil
		return
	}
	if len(b.events) >= 2*maxEvents {
		b.base += maxEvents
		b.events = append([]event(nil), b.events[maxEvents:]...)
	}
	b.events = append(b.events, e)
	s.noted = append(s.noted, b)
}

// now is the version after the last event.
func (b *box) now() uint64 { return b.base + uint64(len(b.events)) }

// concerns reports whether e is news for h.
func (e *event) concerns(h *handle) bool {
	switch e.kind {
	case eventFlags:
		return e.origin != h
	case eventShared:
		return e.origin != h && h.session.st.own(h.box, h.view) == 0
	case eventOwn:
		return e.origin != h && !h.view.owner && h.view.acting == e.reader
	}
	return true
}

// watchers are the handles with a watcher that have something to learn since the
// last call. The caller holds account.mu for writing.
func (s *state) watchers() []*handle {
	var found []*handle
	for i, b := range s.noted {
		if slices.Contains(s.noted[:i], b) {
			continue
		}
		for h := range b.handles {
			if h.watched.Load() && h.behind() {
				found = append(found, h)
			}
		}
	}
	s.noted = s.noted[:0]
	return found
}

// behind reports whether Sync would have something to tell, or may have. The
// caller holds account.mu.
func (h *handle) behind() bool {
	b := h.box
	if h.version < b.base {
		return true
	}
	for i := h.version - b.base; i < uint64(len(b.events)); i++ {
		if b.events[i].concerns(h) {
			return true
		}
	}
	return false
}
