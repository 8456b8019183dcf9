package imapserver

import (
	"errors"
	"strings"
	"time"

	"github.com/roost-mail/roost/imap"
)

// command is one command as it runs: what its row needs to know and what its
// tagged answer will say.
type command struct {
	*row
	tag     string
	mailbox string // for the log
	fresh   bool   // ask the mailbox's home for news at the end, whatever the row says

	// Of the tagged OK: a response code and, if not empty, a text in place of the row's.
	code imap.Code
	args string
	text string
}

// step reads one command, executes it and answers. An error ends the connection.
func (s *session) step() error {
	s.commands++
	s.cmd = command{}
	cmd := &s.cmd
	started, waited := time.Now(), s.stream.waited
	err := s.readCommand(cmd)
	if err == nil {
		err = cmd.run(s, s.ctx, cmd)
	}
	if lost := s.lost(err); lost != nil {
		return lost
	}
	if err == nil || !imap.AsError(err).Bad {
		s.sync(cmd.fresh || cmd.is(asksHome), cmd.is(holdsExpunges))
	}
	s.answer(cmd, err)
	s.logCommand(cmd, err, time.Since(started)-(s.stream.waited-waited))
	return s.dec.SkipLine()
}

// lost is the error that ends the connection, if err is or comes from one.
func (s *session) lost(err error) error {
	var lost connectionLost
	if errors.As(err, &lost) {
		return lost.error
	}
	if errors.Is(err, imap.ErrUnknownOutcome) {
		return err
	}
	if s.enc.Err() != nil {
		if broken := s.flush(); broken != nil {
			return broken
		}
	}
	parse := s.dec.Err()
	if _, ok := errors.AsType[*imap.Error](parse); ok {
		return nil
	}
	return parse
}

// readCommand reads tag and name, and checks whether the command may come now.
func (s *session) readCommand(cmd *command) error {
	cmd.row = &unknownRow
	var name string
	if !s.dec.ExpectTag(&cmd.tag) || !s.dec.ExpectSP() || !s.dec.ExpectAtom(&name) {
		return s.dec.Err()
	}
	name = strings.ToUpper(name)
	if name == "UID" {
		var what string
		if !s.dec.ExpectSP() || !s.dec.ExpectAtom(&what) {
			return s.dec.Err()
		}
		name = "UID " + strings.ToUpper(what)
	}
	r := s.srv.rows[name]
	if r == nil {
		return imap.BadCommand("Unknown command")
	}
	cmd.row = r
	switch {
	case r.states&s.state == 0:
		return imap.BadCommand("%s", wrongState(s.state, r.states))
	case r.is(changes) && s.examined:
		return imap.Errorf(imap.CodeNoPerm, "Mailbox is opened read-only")
	}
	return nil
}

// unknownRow stands for a command whose name was not understood.
var unknownRow = row{name: "(unknown)"}

func wrongState(now, allowed state) string {
	switch {
	case now == notAuthenticated:
		return "Log in first"
	case allowed == notAuthenticated:
		return "Already logged in"
	}
	return "No mailbox selected"
}

// answer writes the tagged response. What an error carries for the log is
// never written.
func (s *session) answer(cmd *command, err error) {
	if err != nil {
		s.answerError(cmd, imap.AsError(err))
		return
	}
	s.bad = 0
	s.enc.Tagged(cmd.tag).RawString("OK ")
	if cmd.code != imap.CodeNone {
		s.enc.Code(cmd.code, cmd.args)
	}
	text := cmd.text
	if text == "" {
		text = cmd.done
	}
	s.enc.Text(text).CRLF()
}

func (s *session) answerError(cmd *command, e *imap.Error) {
	if cmd.tag == "" {
		s.enc.RawString("* ")
	} else {
		s.enc.Tagged(cmd.tag)
	}
	if e.Bad {
		s.bad++
		s.enc.RawString("BAD ")
	} else {
		s.bad = 0
		s.enc.RawString("NO ")
	}
	s.writeCode(e.Code)
	if e.Bad && cmd.row != &unknownRow {
		s.enc.Text("Error in IMAP command ").Text(cmd.name).Text(": ")
	}
	s.enc.Text(e.Text).CRLF()
}

// writeCode writes the code of a refusal. BADCHARSET says what we know (RFC
// 3501 section 7.1).
func (s *session) writeCode(code imap.Code) {
	args := ""
	switch code {
	case imap.CodeNone:
		return
	case imap.CodeBadCharset:
		args = "(US-ASCII UTF-8)"
	}
	s.enc.Code(code, args)
}
