package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/scenario"
)

// imapSession is a scenario's session over a connection to a director.
type imapSession struct {
	user     string
	conn     net.Conn
	r        *bufio.Reader
	tag      int
	selected string
	validity uint32
}

// connectTime bounds connecting, and loginTime the login, which waits while a user
// changes hands.
const (
	connectTime = 2 * time.Second
	loginTime   = 10 * time.Second
)

func openIMAPSession(ctx context.Context, addr, user, password string) (*imapSession, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTime)
	defer cancel()
	d := net.Dialer{Timeout: connectTime}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &imapSession{user: user, conn: conn, r: bufio.NewReader(conn)}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err = s.r.ReadString('\n'); err == nil {
		_, _, err = s.command(ctx, "LOGIN %s %s", user, password)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *imapSession) Close() error { return s.conn.Close() }

var responseCode = regexp.MustCompile(`^(NO|BAD) (?:\[([A-Z0-9-]+)[^]]*\] )?(.*)`)

// command gives the untagged lines and the tagged one, which is an OK.
func (s *imapSession) command(ctx context.Context, format string, args ...any) (untagged []string, tagged string, err error) {
	deadline, _ := ctx.Deadline()
	_ = s.conn.SetDeadline(deadline)
	s.tag++
	tag := fmt.Sprintf("s%d ", s.tag)
	if _, err := fmt.Fprintf(s.conn, tag+format+"\r\n", args...); err != nil {
		return nil, "", err
	}
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return untagged, "", err
		}
		line = strings.TrimRight(line, "\r\n")
		rest, ours := strings.CutPrefix(line, tag)
		switch {
		case !ours && strings.HasPrefix(line, "* BYE"):
			return untagged, "", errors.New(line)
		case !ours:
			untagged = append(untagged, line)
		case strings.HasPrefix(rest, "OK"):
			return untagged, rest, nil
		default:
			m := responseCode.FindStringSubmatch(rest)
			if m == nil {
				return untagged, "", fmt.Errorf("answer %q", rest)
			}
			return untagged, "", imap.Errorf(imap.Code(m[2]), "%s", m[3])
		}
	}
}

func (s *imapSession) enter(ctx context.Context, mailbox string) error {
	if s.selected == mailbox {
		return nil
	}
	s.selected = ""
	untagged, _, err := s.command(ctx, "SELECT %s", mailbox)
	if imap.CodeOf(err) == imap.CodeNonExistent {
		if _, _, err = s.command(ctx, "CREATE %s", mailbox); err == nil || imap.CodeOf(err) == imap.CodeAlreadyExists {
			untagged, _, err = s.command(ctx, "SELECT %s", mailbox)
		}
	}
	if err != nil {
		return err
	}
	for _, line := range untagged {
		if rest, is := strings.CutPrefix(line, "* OK [UIDVALIDITY "); is {
			digits, _, _ := strings.Cut(rest, "]")
			n, _ := strconv.ParseUint(digits, 10, 32)
			s.validity = uint32(n)
		}
	}
	s.selected = mailbox
	return nil
}

var newUID = regexp.MustCompile(`\[(?:APPENDUID (\d+) (\d+)|COPYUID (\d+) \d+ (\d+))\]`)

// place finds the UID of a new message in what was answered.
func place(lines ...string) (scenario.Place, error) {
	for _, line := range lines {
		if m := newUID.FindStringSubmatch(line); m != nil {
			validity, _ := strconv.ParseUint(m[1]+m[3], 10, 32)
			uid, _ := strconv.ParseUint(m[2]+m[4], 10, 32)
			return scenario.Place{Validity: uint32(validity), UID: uint32(uid)}, nil
		}
	}
	return scenario.Place{}, fmt.Errorf("no UID in %q", lines)
}

func (s *imapSession) Append(ctx context.Context, mailbox, id string) (scenario.Place, error) {
	if err := s.enter(ctx, mailbox); err != nil { // it creates the mailbox
		return scenario.Place{}, err
	}
	message := "Subject: " + id + "\r\n\r\nHello\r\n"
	_, tagged, err := s.command(ctx, "APPEND %s {%d+}\r\n%s", mailbox, len(message), message)
	if err != nil {
		return scenario.Place{}, err
	}
	return place(tagged)
}

func (s *imapSession) Flag(ctx context.Context, mailbox string, uid uint32, on bool) error {
	if err := s.enter(ctx, mailbox); err != nil {
		return err
	}
	sign := "-"
	if on {
		sign = "+"
	}
	_, _, err := s.command(ctx, `UID STORE %d %sFLAGS.SILENT (\Flagged)`, uid, sign)
	return err
}

// Expunge marks a message, which alone changes nothing that a scenario looks at, and
// removes it.
func (s *imapSession) Expunge(ctx context.Context, mailbox string, uid uint32) error {
	if err := s.enter(ctx, mailbox); err != nil {
		return err
	}
	if _, _, err := s.command(ctx, `UID STORE %d +FLAGS.SILENT (\Deleted)`, uid); err != nil {
		return err
	}
	_, _, err := s.command(ctx, "UID EXPUNGE %d", uid)
	return err
}

func (s *imapSession) Copy(ctx context.Context, from string, uid uint32, to string) (scenario.Place, error) {
	return s.transfer(ctx, "COPY", from, uid, to)
}

func (s *imapSession) Move(ctx context.Context, from string, uid uint32, to string) (scenario.Place, error) {
	return s.transfer(ctx, "MOVE", from, uid, to)
}

func (s *imapSession) transfer(ctx context.Context, verb, from string, uid uint32, to string) (scenario.Place, error) {
	if err := s.enter(ctx, to); err != nil { // it creates the mailbox
		return scenario.Place{}, err
	}
	if err := s.enter(ctx, from); err != nil {
		return scenario.Place{}, err
	}
	untagged, tagged, err := s.command(ctx, "UID %s %d %s", verb, uid, to)
	if err != nil {
		return scenario.Place{}, err
	}
	return place(append(untagged, tagged)...)
}

func (s *imapSession) Grant(ctx context.Context, mailbox, reader string, on bool) error {
	if err := s.enter(ctx, mailbox); err != nil { // it creates the mailbox
		return err
	}
	command := "DELETEACL " + mailbox + " " + reader
	if on {
		command = "SETACL " + mailbox + " " + reader + " lr"
	}
	_, _, err := s.command(ctx, "%s", command)
	return err
}

func (s *imapSession) Granted(ctx context.Context, mailbox string) (readers []string, err error) {
	untagged, _, err := s.command(ctx, "GETACL %s", mailbox)
	for _, line := range untagged {
		rest, is := strings.CutPrefix(line, "* ACL "+mailbox+" ")
		for words := strings.Fields(rest); is && len(words) > 1; words = words[2:] {
			if words[0] != s.user {
				readers = append(readers, words[0])
			}
		}
	}
	return readers, err
}

var fetchLine = regexp.MustCompile(`^\* \d+ FETCH \((.*)$`)

func (s *imapSession) Messages(ctx context.Context, mailbox string) (uint32, []scenario.Message, error) {
	s.selected = ""
	if err := s.enter(ctx, mailbox); err != nil {
		return 0, nil, err
	}
	untagged, _, err := s.command(ctx, "UID FETCH 1:* (UID FLAGS ENVELOPE)")
	if err != nil {
		return 0, nil, err
	}
	var out []scenario.Message
	for _, line := range untagged {
		m := fetchLine.FindStringSubmatch(line)
		if m == nil || !strings.Contains(line, "ENVELOPE") {
			continue
		}
		uid, err := strconv.ParseUint(regexp.MustCompile(`UID (\d+)`).FindStringSubmatch(m[1])[1], 10, 32)
		if err != nil {
			return 0, nil, err
		}
		out = append(out, scenario.Message{
			ID:      regexp.MustCompile(`ENVELOPE \(\S+ "([^"]*)"`).FindStringSubmatch(m[1])[1],
			UID:     uint32(uid),
			Flagged: strings.Contains(line, `\Flagged`),
		})
	}
	return s.validity, out, nil
}
