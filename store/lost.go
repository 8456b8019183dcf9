package store

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/roost-mail/roost/mailbox"
)

// maxJudged bounds how many readers one ForgetLost forgets or marks; the next does the rest.
const maxJudged = 1000

// judged is a reader of a mailbox, while it is found out whether they have access.
type judged struct {
	box    uint32
	at     mailbox.Standing
	reader string
	access bool
}

// ForgetLost asks of each reader who has flags or annotations of their own in a
// mailbox whether they have access to it, and takes down since when they have
// none. After grace what is theirs is forgotten. If they come back later, their modification
// sequences are above all they ever saw. Who is not known, by an
// error, stays as they are. It returns how many were forgotten, counted by mailbox.
func (s *Session) ForgetLost(ctx context.Context, grace time.Duration, access func(ctx context.Context, at mailbox.Standing, reader string) (bool, error)) (forgotten int, err error) {
	version, all := s.readersOfAll()
	known := all[:0]
	for _, j := range all {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if j.access, err = access(ctx, j.at, j.reader); err == nil {
			known = append(known, j)
		}
	}
	err = s.submit(ctx, &txn{durable: true, alone: true, build: func(b *builder) error {
		forgotten = 0
		if b.st.shareVersion != version {
			return nil // rights have changed meanwhile: another time
		}
		rec := &recLost{}
		for _, j := range known {
			if len(rec.readers) == maxJudged {
				break
			}
			if l, is := b.judge(&j, grace); is {
				rec.readers = append(rec.readers, l)
				if l.forget {
					forgotten++
				}
			}
		}
		if forgotten > 0 {
			rec.modseq = b.modseq()
		}
		if len(rec.readers) > 0 {
			b.add(rec)
		}
		return nil
	}})
	if err != nil {
		return 0, err
	}
	return forgotten, nil
}

// readersOfAll are the readers of all mailboxes, as of a version of the rights.
func (s *Session) readersOfAll() (version uint64, all []judged) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, id := range s.st.boxIDs() {
		b := s.st.boxes[id]
		for _, name := range slices.Sorted(maps.Keys(b.readers)) {
			if name != s.user {
				all = append(all, judged{box: id, at: s.st.standing(b), reader: name})
			}
		}
	}
	return s.st.shareVersion, all
}

// HasReaders reports whether anyone but the owner has flags or annotations of their own.
func (s *Session) HasReaders() bool {
	_, all := s.readersOfAll()
	return len(all) > 0
}

// judge is what becomes of a reader, if anything does.
func (b *builder) judge(j *judged, grace time.Duration) (lostReader, bool) {
	l := lostReader{box: j.box, reader: j.reader}
	m := b.st.boxes[j.box]
	if m == nil || m.readers[j.reader] == nil {
		return l, false
	}
	since := m.readers[j.reader].lost
	switch {
	case j.access:
		return l, since != 0
	case since == 0:
		l.since = max(b.seconds(), 1)
		return l, true
	case b.now.Sub(time.Unix(int64(since), 0)) < grace || b.account.ensure(m) != nil:
		return l, false
	}
	l.forget = true
	return l, true
}
