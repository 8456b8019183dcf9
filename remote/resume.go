package remote

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
)

// resumeTime is how long the rest of a section is tried to be had: as long as the
// owner's mail may take to come up at another backend.
const resumeTime = 15 * time.Second

// resumed is a section that is told as it comes. A client that has been told the
// length of a literal gets so many bytes or loses its connection (RFC 9051 section
// 4.3): so if ours to the peer is lost, the rest is asked for on another. A
// message never changes.
type resumed struct {
	fetch   *fetching
	uid     imap.UID
	section *imap.Section
	r       io.Reader
	size    int64
	done    int64
}

// Read gives UNAVAILABLE if the rest can't be had.
func (s *resumed) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.done += int64(n)
	switch {
	case err == nil, s.done == s.size:
		return n, err
	case n > 0:
		return n, nil
	}
	if s.r, err = s.rest(err); err != nil {
		return 0, unavailable(errors.New(err.Error())) // not io.EOF, which is an end
	}
	return s.Read(p)
}

// rest asks for what is missing. A mailbox that has ended has no rest.
func (s *resumed) rest(lost error) (io.Reader, error) {
	b, missing := s.fetch.box, s.size-s.done
	b.account.cfg.Log.Warn("connection lost within a message", "owner", b.account.cfg.Owner, "mailbox", b.name,
		"uid", s.uid, "told", s.done, "of", s.size, "error", lost)
	b.link.abandon(s.fetch.conn)
	for begun := time.Now(); ; {
		var rest io.Reader
		err := b.do(s.fetch.ctx, true, func(c *imapclient.Conn) (err error) {
			rest, err = s.ask(c, missing)
			return err
		})
		switch {
		case rest != nil:
			return rest, nil
		case err == nil:
			return nil, fmt.Errorf("message is gone, %d bytes of it are missing: %w", missing, lost)
		case b.usable() != nil, s.fetch.ctx.Err() != nil, time.Since(begun) > resumeTime:
			return nil, err
		}
		select {
		case <-time.After(firstPause):
		case <-s.fetch.ctx.Done():
		}
	}
}

var errOtherSize = errors.New("a message is not what it was")

// ask takes in all that is missing: it is given on by who does not wait for it.
func (s *resumed) ask(c *imapclient.Conn, missing int64) (rest io.Reader, err error) {
	section := *s.section
	section.Offset += uint64(s.done)
	section.Partial, section.Count = true, uint64(missing)
	kind, name, _ := strings.Cut(sectionName(&section, true), "[")
	h := &imapclient.Handler{Section: func(m *imapclient.FetchData, data *imapclient.SectionData) (err error) {
		if data.Size != missing {
			return errOtherSize
		}
		rest, err = s.fetch.hold(data)
		return err
	}}
	_, err = c.Do(s.fetch.ctx, h, func(e *imapwire.Encoder) {
		e.RawString("UID FETCH ").Number(uint32(s.uid)).RawString(" (UID ").RawString(kind + ".PEEK[" + name).Special(')')
	})
	if err != nil {
		rest = nil
	}
	return rest, err
}
