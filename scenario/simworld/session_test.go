package simworld

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/namespace"
	"github.com/roost-mail/roost/scenario"
)

// session is a login at a backend.
type session struct {
	backend *backend
	user    string
	mail    *namespace.Tree

	busy     chan struct{} // has one element during a command
	gone     chan struct{} // closed when the connection is lost
	lose     sync.Once
	toggle   bool                       // what makes flags durable; the command's, as is the next
	open     map[string]mailbox.Mailbox // by name
	leavable sync.Mutex                 // guards left
	left     bool                       // the backend has said BYE
}

func newSession(b *backend, user string, mail *namespace.Tree) *session {
	return &session{backend: b, user: user, mail: mail, busy: make(chan struct{}, 1), gone: make(chan struct{}), open: map[string]mailbox.Mailbox{}}
}

// bye has the backend take no more commands.
func (s *session) bye() {
	s.leavable.Lock()
	defer s.leavable.Unlock()
	s.left = true
}

func (s *session) hasLeft() bool {
	s.leavable.Lock()
	defer s.leavable.Unlock()
	return s.left
}

// isGone says whether the connection is lost.
func (s *session) isGone() bool {
	select {
	case <-s.gone:
		return true
	default:
		return false
	}
}

// idle waits until no command is under way.
func (s *session) idle(ctx context.Context) {
	select {
	case s.busy <- struct{}{}:
		<-s.busy
	case <-ctx.Done():
	}
}

// hangUp loses the connection.
func (s *session) hangUp() { s.lose.Do(func() { close(s.gone) }) }

// end frees what the session has, when no command is under way.
func (s *session) end() {
	s.hangUp()
	s.backend.mu.Lock()
	delete(s.backend.sessions, s)
	s.backend.mu.Unlock()
	s.backend.machine.w.tasks.Go(func() {
		s.busy <- struct{}{}
		for _, m := range s.open {
			_ = m.Close()
		}
		_ = s.mail.Close()
		s.bye()
		<-s.busy
	})
}

// run has the backend do a command.
func (s *session) run(ctx context.Context, command func(context.Context) error) error {
	if err := s.backend.pass(); err != nil {
		return err
	}
	s.busy <- struct{}{}
	defer func() { <-s.busy }()
	if s.hasLeft() {
		return errMoves
	}
	return command(ctx)
}

func (s *session) mailbox(ctx context.Context, name string) (mailbox.Mailbox, error) {
	if m := s.open[name]; m != nil {
		return m, nil
	}
	m, err := s.mail.Open(ctx, name, false)
	if err == nil {
		s.open[name] = m
	}
	return m, err
}

// proxied is a session through a director, as a client has it.
type proxied struct {
	*session
	through *director
	relay   *relay
}

var errBroken = errors.New("the connection is lost")

// command has the backend do something, unless the connection is lost by now. If it is lost
// later nobody knows.
func command[T any](ctx context.Context, s *proxied, do func(context.Context) (T, error)) (none T, _ error) {
	select {
	case <-s.gone:
		return none, imap.Wrap(imap.CodeUnavailable, "not sent", errBroken)
	default:
	}
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	s.backend.machine.w.tasks.Go(func() {
		if s.through.pass() != nil {
			return
		}
		s.backend.machine.w.delay(roundTrip)
		var a answer
		a.err = s.run(context.WithoutCancel(ctx), func(ctx context.Context) (err error) {
			a.value, err = do(ctx)
			return err
		})
		if s.backend.pass() != nil {
			return
		}
		s.backend.machine.w.delay(roundTrip)
		if s.through.pass() == nil {
			answers <- a
		}
	})
	select {
	case a := <-answers:
		return a.value, a.err
	case <-s.gone:
		return none, errBroken
	case <-ctx.Done():
		return none, errors.New("no answer")
	}
}

// change is command for what changes the mail. It tells the monitor of an OK.
func change[T any](ctx context.Context, s *proxied, do func(context.Context) (T, error)) (T, error) {
	m := s.backend.machine.w.monitor
	before := m.latest(s.user)
	value, err := command(ctx, s, do)
	if err == nil {
		m.acknowledged(s.user, s.backend.process, before)
	}
	return value, err
}

// act is change for what has no answer but an error.
func (s *proxied) act(ctx context.Context, do func(context.Context) error) error {
	_, err := change(ctx, s, func(ctx context.Context) (struct{}, error) { return struct{}{}, do(ctx) })
	return err
}

// Close implements scenario.Session.
func (s *proxied) Close() error {
	s.through.forget(s.relay)
	s.end()
	return nil
}

func message(id string) string {
	return "Subject: " + id + "\r\n\r\nThis is " + id + ".\r\n" + strings.Repeat("x", len(id)%7*100) + "\r\n"
}

// Append implements scenario.Session.
func (s *proxied) Append(ctx context.Context, name, id string) (scenario.Place, error) {
	return change(ctx, s, func(ctx context.Context) (at scenario.Place, err error) {
		text := message(id)
		data, err := s.mail.Append(ctx, name, mailbox.One(&mailbox.NewMessage{Size: int64(len(text)), Body: strings.NewReader(text)}))
		if err == nil {
			at = scenario.Place{Validity: data.UIDValidity, UID: uint32(data.UIDs.Min())}
		}
		return at, err
	})
}

// Flag implements scenario.Session. A flag may be lost with a backend within a second, unless
// something durable follows it, as here.
func (s *proxied) Flag(ctx context.Context, name string, uid uint32, on bool) error {
	op := mailbox.FlagsRemove
	if on {
		op = mailbox.FlagsAdd
	}
	return s.act(ctx, func(ctx context.Context) error {
		if err := s.flag(ctx, name, uid, op, imap.FlagFlagged); err != nil {
			return err
		}
		s.toggle = !s.toggle
		err := s.mail.SetSubscribed(ctx, "Other", s.toggle)
		if err == nil {
			err = s.mail.SetSubscribed(ctx, "Other", !s.toggle)
		}
		if err != nil {
			return fmt.Errorf("flags may be lost: %s", err)
		}
		return nil
	})
}

func (s *session) flag(ctx context.Context, name string, uid uint32, op mailbox.FlagOp, flag imap.Flag) error {
	m, err := s.mailbox(ctx, name)
	if err != nil {
		return err
	}
	_, err = m.Store(ctx, one(uid), mailbox.FlagChange{Op: op, Flags: []imap.Flag{flag}, Silent: true}, nil)
	return err
}

func one(uid uint32) imap.UIDSet { return imap.UIDRange(imap.UID(uid), imap.UID(uid)) }

// Expunge implements scenario.Session.
func (s *proxied) Expunge(ctx context.Context, name string, uid uint32) error {
	return s.act(ctx, func(ctx context.Context) error {
		if err := s.flag(ctx, name, uid, mailbox.FlagsAdd, imap.FlagDeleted); err != nil {
			return err
		}
		return s.open[name].Expunge(ctx, one(uid), false)
	})
}

// Copy implements scenario.Session.
func (s *proxied) Copy(ctx context.Context, from string, uid uint32, to string) (scenario.Place, error) {
	return s.transfer(ctx, from, func(ctx context.Context, m mailbox.Mailbox) (imap.CopyData, error) {
		return m.Copy(ctx, one(uid), to)
	})
}

// Move implements scenario.Session.
func (s *proxied) Move(ctx context.Context, from string, uid uint32, to string) (scenario.Place, error) {
	return s.transfer(ctx, from, func(ctx context.Context, m mailbox.Mailbox) (imap.CopyData, error) {
		return m.Move(ctx, one(uid), to)
	})
}

func (s *proxied) transfer(ctx context.Context, from string, do func(context.Context, mailbox.Mailbox) (imap.CopyData, error)) (scenario.Place, error) {
	return change(ctx, s, func(ctx context.Context) (at scenario.Place, _ error) {
		m, err := s.mailbox(ctx, from)
		if err != nil {
			return at, err
		}
		data, err := do(ctx, m)
		if err == nil && !data.Dest.Empty() {
			at = scenario.Place{Validity: data.UIDValidity, UID: uint32(data.Dest.Min())}
		}
		return at, err
	})
}

// Grant implements scenario.Session.
func (s *proxied) Grant(ctx context.Context, name, reader string, on bool) error {
	return s.act(ctx, func(ctx context.Context) error {
		if !on {
			return s.mail.DeleteACL(ctx, name, reader)
		}
		return s.mail.SetACL(ctx, name, reader, imap.ACLReplace, imap.RightLookup|imap.RightRead)
	})
}

// Granted implements scenario.Session.
func (s *proxied) Granted(ctx context.Context, name string) (readers []string, err error) {
	entries, err := command(ctx, s, func(ctx context.Context) ([]imap.ACLEntry, error) { return s.mail.GetACL(ctx, name) })
	for _, e := range entries {
		if e.Identifier != s.user {
			readers = append(readers, e.Identifier)
		}
	}
	return readers, err
}

// Messages implements scenario.Session.
func (s *proxied) Messages(ctx context.Context, name string) (uint32, []scenario.Message, error) {
	type contents struct {
		validity uint32
		messages []scenario.Message
	}
	all, err := command(ctx, s, func(ctx context.Context) (c contents, _ error) {
		m, err := s.mail.Open(ctx, name, true)
		if err != nil {
			return c, err
		}
		defer m.Close() //nolint:errcheck // never fails
		c.validity = m.Info().UIDValidity
		items := &imap.FetchItems{Flags: true, Sections: []imap.Section{{}}}
		err = m.Fetch(ctx, imap.UIDRange(1, 1<<32-1), items, func(m *mailbox.Message) error {
			text, err := io.ReadAll(m.Sections[0].Body)
			if err != nil {
				return err
			}
			id, _, _ := strings.Cut(strings.TrimPrefix(string(text), "Subject: "), "\r\n")
			if string(text) != message(id) {
				return fmt.Errorf("the text of UID %d is not what it was: %.100q", m.UID, text)
			}
			c.messages = append(c.messages, scenario.Message{ID: id, UID: uint32(m.UID), Flagged: imap.HasFlag(m.Flags, imap.FlagFlagged)})
			return nil
		})
		return c, err
	})
	return all.validity, all.messages, err
}
