package imapserver

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/roost-mail/roost/imap"
)

// command is one command as it runs: what its row needs to know and what its
// tagged answer will say.
type command struct {
	*row
	took    *took
	tag     []byte   // in session.words; empty if it was not understood
	mailbox string   // for the log
	names   []string // whose mailbox or subscription it has changed
	partial partial  // of RETURN
	fresh   bool     // ask the mailbox's home for news at the end, whatever the row says

	// Of the tagged OK: a response code and, if not empty, a text in place of the row's.
	code imap.Code
	args string
	text string

	after      func() error // done behind the tagged OK; its error ends the connection
	toldModSeq bool         // a MODSEQ item was written
	vanished   bool         // a VANISHED response was written
}

// step reads one command, executes it and answers. An error ends the connection.
func (s *session) step() error {
	s.commands++
	*s.cmd = command{}
	cmd := s.cmd
	started, waited := time.Now(), s.stream.waited
	err := s.execute(cmd)
	if s.pause.begun() { // it is IDLE, and has only begun
		s.rests()
		s.count(atIdle)
		return nil
	}
	return s.finish(cmd, err, time.Since(started)-(s.stream.waited-waited))
}

// finish tells what has happened meanwhile, and answers. took is for the log.
func (s *session) finish(cmd *command, err error, took time.Duration) error {
	if lost := s.lost(err); lost != nil {
		return lost
	}
	if err == nil || !imap.AsError(err).Bad {
		s.sync(cmd.fresh || cmd.is(asksHome), cmd.is(holdsExpunges))
		s.accept(cmd.names)
		s.notifyOthers()
	}
	if cmd.is(expunges) && cmd.vanished && cmd.code == imap.CodeNone {
		cmd.code, cmd.args = "HIGHESTMODSEQ", s.settled.String() // RFC 7162 sections 3.2.7 and 3.2.9
	}
	s.answer(cmd, err)
	s.rests()
	s.logCommand(cmd, err, took)
	cmd.took.count(err, took)
	s.count(s.phase())
	if skipped := s.dec.SkipLine(); skipped != nil || err != nil || cmd.after == nil {
		return skipped
	}
	return cmd.after()
}

// execute runs the next command: of those that were read ahead, or of the input.
func (s *session) execute(cmd *command) error {
	if len(s.ahead) > 0 {
		return s.runQueued(cmd)
	}
	err := s.readCommand(cmd)
	if err == nil {
		s.works(cmd.row)
		err = cmd.run(s, s.ctx, cmd)
	}
	return err
}

// lost is the error that ends the connection, if err is or comes from one.
func (s *session) lost(err error) error {
	if err != nil {
		if lost, ok := errors.AsType[connectionLost](err); ok {
			return lost.error
		}
		if errors.Is(err, imap.ErrUnknownOutcome) {
			return err
		}
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
	cmd.row, cmd.took = &unknownRow, &s.srv.counters.unknown
	name, err := s.readName(cmd)
	if err != nil {
		return err
	}
	r, known := s.srv.rows[string(name)]
	if !known {
		return imap.BadCommand("Unknown command")
	}
	cmd.row, cmd.took = r.row, r.took
	switch {
	case r.states&s.state == 0:
		return imap.BadCommand("%s", wrongState(s.state, r.states))
	case r.is(changes) && s.examined:
		return imap.Errorf(imap.CodeNoPerm, "Mailbox is opened read-only")
	}
	return nil
}

// readName reads the tag and the name, in capitals, into the session's buffer.
// A UID command's name is both its words.
func (s *session) readName(cmd *command) (name []byte, err error) {
	if cap(s.words) > maxWords {
		s.words = nil
	}
	tag, ok := s.dec.AppendTag(s.words[:0])
	if s.dec.Expect(ok, "tag"); ok {
		cmd.tag = tag
	}
	if !s.dec.ExpectSP() {
		return nil, s.dec.Err()
	}
	words, ok := s.dec.AppendAtom(tag)
	name = upper(words[len(tag):])
	if ok && string(name) == "UID" {
		if !s.dec.ExpectSP() {
			return nil, s.dec.Err()
		}
		words, ok = s.dec.AppendAtom(append(words, ' '))
		name = upper(words[len(tag):])
	}
	s.words = words
	if !s.dec.Expect(ok, "atom") {
		return nil, s.dec.Err()
	}
	return name, nil
}

// maxWords is the most that an idle session keeps of a long tag.
const maxWords = 256

// upper makes ASCII letters capitals, in place.
func upper(b []byte) []byte {
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return b
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
	s.enc.Raw(cmd.tag).SP().RawString("OK ")
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
	if len(cmd.tag) == 0 {
		s.enc.RawString("* ")
	} else {
		s.enc.Raw(cmd.tag).SP()
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
	name, args, _ := strings.Cut(string(code), " ")
	switch code {
	case imap.CodeNone:
		return
	case imap.CodeBadCharset:
		args = "(US-ASCII UTF-8)"
	case imap.CodeMetadataMaxSize:
		args += " " + strconv.Itoa(imap.MaxMetadataValue)
	case "BADEVENT":
		args = "(" + strings.Join(eventNames[:], " ") + ")"
	}
	s.enc.Code(imap.Code(name), args)
}
