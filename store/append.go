package store

import (
	"context"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/message"
)

// maxAppend bounds the messages of one APPEND.
const maxAppend = 10_000

// incoming is a message that has been read and is not in the log yet.
type incoming struct {
	body   *spool
	size   int64  // before compression
	coding uint64 // of body
	flags  flagList
	seen   bool
	date   packedTime
	digest []byte
	email  objectID
}

// Append implements mailbox.Account.
func (s *Session) Append(ctx context.Context, name string, next mailbox.NextMessage) (imap.AppendData, error) {
	s.settle(ctx)
	s.mu.RLock()
	to, err := s.st.names[name], s.usable()
	s.mu.RUnlock()
	if err != nil {
		return imap.AppendData{}, err
	}
	if to == nil {
		return imap.AppendData{}, imap.NoMailboxTryCreate()
	}
	if err := s.writable(); err != nil {
		return imap.AppendData{}, err
	}
	// A client may be slow to send: bodies are read and scanned before
	// anything is locked.
	spooler := newSpooler(&s.disk)
	defer spooler.close() //nolint:errcheck // a nameless file
	messages, err := s.receive(ctx, spooler, to, next)
	if err != nil || len(messages) == 0 {
		return imap.AppendData{}, err
	}
	var data imap.AppendData
	err = s.submit(ctx, &txn{durable: true, build: func(b *builder) (err error) {
		// It goes where the client was let in, not to what has that name by now.
		if to.gone {
			return imap.NoMailboxTryCreate()
		}
		if err := b.loaded(to); err != nil {
			return err
		}
		data, err = b.deliver(to, messages, s.view)
		return err
	}})
	if err != nil {
		return imap.AppendData{}, err
	}
	return data, nil
}

// receive takes in all messages of an APPEND.
func (s *Session) receive(ctx context.Context, spooler *spooler, to *box, next mailbox.NextMessage) ([]incoming, error) {
	var messages []incoming
	for {
		m, err := next()
		if mailbox.AtEnd(err) {
			return messages, nil
		}
		if err != nil {
			return nil, err
		}
		if len(messages) == maxAppend {
			return nil, imap.Errorf(imap.CodeLimit, "Too many messages in one command")
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := s.quotaRoom(to, messages, m.Size); err != nil {
			return nil, err
		}
		if err := s.roomFor(m.Size); err != nil {
			return nil, err
		}
		in, err := s.receiveOne(spooler, m)
		if err != nil {
			return nil, err
		}
		messages = append(messages, in)
	}
}

// With more than twice as many bytes to spare as roomy, the filesystem is not
// asked again for the time roomyFor, except for very large messages.
const (
	roomy    = 1 << 30
	roomyFor = 100 * time.Millisecond // of the real one
)

// roomFor refuses messages while the filesystem is nearly full.
func (s *Session) roomFor(size int64) error {
	now := s.store.now().UnixNano()
	if until := s.roomy.Load(); now < until && size < roomy {
		return nil
	}
	free, err := s.disk.fs.Free(s.disk.dir)
	if err != nil {
		return unavailable(err)
	}
	if free-s.store.options.MinFree > 2*roomy {
		s.roomy.Store(now + int64(s.store.roomyFor))
	}
	if free-max(size, 0) < s.store.options.MinFree {
		s.store.sayFull(s.disk.dir, free)
		return errDiskFull
	}
	s.disk.ballast.refill(free - max(size, 0))
	return nil
}

// sayFull logs once a minute that messages are refused.
func (s *Store) sayFull(dir string, free int64) {
	now := s.now().UnixNano()
	if said := s.fullSaid.Load(); now-said >= int64(time.Minute) && s.fullSaid.CompareAndSwap(said, now) {
		s.options.Log.Error("the disk is nearly full: messages are refused", "dir", dir, "free", free, "mail_min_free", s.options.MinFree)
	}
}

func (s *Session) receiveOne(spooler *spooler, m *mailbox.NewMessage) (in incoming, err error) {
	if in.flags, in.seen, err = splitFlags(m.Flags); err != nil {
		return in, err
	}
	date := m.InternalDate
	if date.IsZero() {
		date = s.store.now()
	}
	in.date = packTime(date)
	if in.body, err = spooler.take(m.Body, m.Size); err != nil {
		return in, err
	}
	digest, err := scanBody(in.body)
	if err != nil {
		return in, err
	}
	in.digest = digest.Append(nil)
	in.size = in.body.size
	if in.body, in.coding, err = spooler.compress(in.body); err != nil {
		return in, err
	}
	var known bool
	if in.email, known = parseEmailID(m.EmailID); !known {
		in.email = newObjectID()
	}
	return in, nil
}

func scanBody(body *spool) (*message.Digest, error) {
	if body.file == nil {
		return message.ScanBytes(body.mem), nil
	}
	return message.Scan(body.reader(), body.size)
}

// deliver makes the records of an APPEND.
func (b *builder) deliver(m *box, messages []incoming, v view) (data imap.AppendData, err error) {
	var keywords []string
	for before := range b.delivered() {
		if before.box == m.id {
			keywords = append(keywords, before.flags.keywords...)
		}
	}
	for i := range messages {
		keywords = append(keywords, messages[i].flags.keywords...)
	}
	if err := m.flags.room(keywords); err != nil {
		return imap.AppendData{}, err
	}
	sizes := make([]uint64, len(messages))
	for i := range messages {
		sizes[i] = uint64(messages[i].size)
	}
	if err := b.admit(v, m.name, sizes); err != nil {
		return imap.AppendData{}, err
	}
	own, reader := b.st.own(m, v), ""
	if own&ownSeen != 0 {
		reader = v.acting
	}
	var uids []imap.UID
	for i := range messages {
		in := &messages[i]
		rec := &recMessage{
			box: m.id, modseq: b.modseq(), date: in.date, saved: b.seconds(), email: in.email,
			flags: in.flags, seen: in.seen, reader: reader, size: uint32(in.size), coding: in.coding, digest: in.digest,
		}
		if rec.uid, err = b.uid(m); err != nil {
			return imap.AppendData{}, err
		}
		if rec.blob, err = b.blob(); err != nil {
			return imap.AppendData{}, err
		}
		mine := b.st.ownOf(&in.flags, false) & own
		if mine != 0 {
			rec.flags = b.st.put(in.flags, own, 0)
		}
		b.addBody(rec, in.body)
		if mine != 0 {
			b.addOwn(m.id, v.acting, imap.UIDSetOf(imap.UID(rec.uid)), mine|b.st.ownOf(&flagList{}, in.seen)&own)
		}
		uids = append(uids, imap.UID(rec.uid))
	}
	return imap.AppendData{UIDValidity: m.uidValidity, UIDs: imap.UIDSetOf(uids...)}, nil
}
