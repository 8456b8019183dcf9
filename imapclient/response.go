package imapclient

import (
	"fmt"
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
)

// readResponse reads one response and hands it on. Its error has broken the
// connection.
func (c *Conn) readResponse() error {
	if c.broken != nil {
		return c.broken
	}
	err := c.response()
	if err == nil {
		err = c.dec.SkipLine()
	}
	if err != nil {
		return c.fail(err)
	}
	return nil
}

func (c *Conn) response() error {
	var tag string
	if _, ok := c.dec.PeekByte(); ok && c.lineOfFetch() {
		return c.fetchLine()
	}
	switch {
	case c.dec.Special('*'):
		if !c.dec.ExpectSP() {
			return c.syntax("untagged response")
		}
		return c.untagged()
	case c.dec.Special('+'):
		var prompt string
		c.continued = true
		if !c.dec.Text(&prompt) || !c.dec.ExpectCRLF() {
			return c.syntax("continuation request")
		}
		return nil
	}
	var status Status
	if !c.dec.ExpectTag(&tag) || !c.dec.ExpectSP() || !c.status(&status) {
		return c.syntax("tagged response")
	}
	i := slices.IndexFunc(c.pending, func(p *Command) bool { return p.tag == tag })
	if i < 0 {
		return fmt.Errorf("answer to unknown command %.20q", tag)
	}
	c.pending[i].status = &status
	c.pending = slices.Delete(c.pending, i, i+1)
	return nil
}

// syntax is the error of a response that breaks the grammar. It hides that the
// decoder calls it a bad command.
func (c *Conn) syntax(where string) error {
	if e, ok := c.dec.Err().(*imap.Error); ok {
		if e.Err != nil {
			return fmt.Errorf("%s: %s: %w", where, e.Text, e.Err)
		}
		return fmt.Errorf("%s: %s", where, e.Text)
	}
	if err := c.dec.Err(); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	return fmt.Errorf("%s: invalid", where)
}

// status reads a status response to the end of its line.
func (c *Conn) status(s *Status) bool {
	var kind string
	if !c.dec.ExpectAtom(&kind) {
		return false
	}
	s.Kind = StatusKind(strings.ToUpper(kind))
	return c.statusText(s)
}

// statusText reads what follows the kind. Some servers leave out the text, and
// the space with it.
func (c *Conn) statusText(s *Status) bool {
	if !isStatus(s.Kind) {
		return c.dec.Expect(false, "status")
	}
	if c.dec.CRLF() {
		return true
	}
	if !c.dec.ExpectSP() {
		return false
	}
	if b, ok := c.dec.PeekByte(); ok && b == '[' {
		var name string
		if !c.dec.Code(&name, &s.Args) {
			return false
		}
		s.Code = imap.Code(strings.ToUpper(name))
		c.dec.SP()
	}
	if !c.dec.Text(&s.Text) || !c.dec.ExpectCRLF() {
		return false
	}
	if s.Code == "CAPABILITY" {
		c.setCapabilities(s.Args)
	}
	return true
}

// taker is the handler of the oldest command, or the connection's own.
func (c *Conn) taker() *Handler {
	if len(c.pending) > 0 {
		return c.pending[0].handler
	}
	return &c.Handler
}

// untagged reads a response behind "* ".
func (c *Conn) untagged() error {
	var num uint32
	var name string
	if c.dec.Number(&num) {
		if !c.dec.ExpectSP() {
			return c.syntax("untagged response")
		}
		word, ok := c.dec.AppendAtom(c.word[:0])
		if c.word = word; !c.dec.Expect(ok, "atom") {
			return c.syntax("untagged response")
		}
		upper(word)
		return c.numbered(num, word)
	}
	if !c.dec.ExpectAtom(&name) {
		return c.syntax("untagged response")
	}
	name = strings.ToUpper(name)
	if isStatus(StatusKind(name)) {
		status := &Status{Kind: StatusKind(name)}
		if !c.statusText(status) {
			return c.syntax("status response")
		}
		if status.Kind == Bye {
			c.bye = status
		}
		if h := c.taker(); h.Status != nil {
			h.Status(status)
		}
		return nil
	}
	return c.named(name)
}

func isStatus(kind StatusKind) bool {
	return slices.Contains([]StatusKind{OK, No, Bad, Bye, Preauth}, kind)
}

// named reads the responses that begin with their name.
func (c *Conn) named(name string) error {
	h, ok := c.taker(), true
	switch name {
	case "CAPABILITY":
		var list string
		if ok = c.dec.ExpectSP() && c.dec.Text(&list); ok {
			c.setCapabilities(list)
		}
	case "FLAGS":
		ok = c.flags(h)
	case "ENABLED":
		ok = c.enabledList()
	case "VANISHED":
		ok = c.vanished(h)
	case "SEARCH":
		ok = c.search(h)
	case "SORT":
		ok = c.sort(h)
	case "THREAD":
		ok = c.thread(h)
	case "ESEARCH":
		ok = c.esearch(h)
	case "LIST", "LSUB":
		ok = c.list(h)
	case "STATUS":
		ok = c.mailboxStatus(h)
	case "ACL":
		ok = c.acl(h)
	case "MYRIGHTS":
		ok = c.myRights(h)
	case "LISTRIGHTS":
		ok = c.listRights(h)
	case "METADATA":
		ok = c.metadata(h)
	case "QUOTAROOT":
		ok = c.quotaRoot(h)
	case "QUOTA":
		ok = c.quota(h)
	default:
		c.drop()
		return nil
	}
	if !ok || c.dec.Err() != nil {
		return c.syntax(name)
	}
	// Later extensions may add something behind what is known.
	c.drop()
	return nil
}

// drop has the rest of the response skipped.
func (c *Conn) drop() {
	if !c.dec.CRLF() {
		c.dec.Fail(imap.BadCommand("skipped"))
	}
}

// numbered reads EXISTS, EXPUNGE and FETCH.
func (c *Conn) numbered(num uint32, name []byte) error {
	h := c.taker()
	switch {
	case string(name) == "FETCH":
		return c.fetch(h, imap.SeqNum(num))
	case string(name) == "EXISTS" && h.Exists != nil:
		h.Exists(num)
	case string(name) == "EXPUNGE" && h.Expunge != nil:
		h.Expunge(imap.SeqNum(num))
	}
	c.drop()
	return nil
}
