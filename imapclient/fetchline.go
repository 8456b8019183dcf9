package imapclient

import (
	"bytes"

	"github.com/roost-mail/roost/imap"
)

// lineOfFetch reads a FETCH response that is one buffered line of items whose
// values are numbers and lists, as most are when many messages are asked for. It
// consumes nothing, and reports false for all others, which are read token by
// token. What it takes, that way would take too.
func (c *Conn) lineOfFetch() bool {
	rest, ok := bytes.CutPrefix(c.dec.BufferedLine(), []byte("* "))
	if !ok {
		return false
	}
	c.fetched = FetchData{}
	m := &c.fetched
	n, rest := cutNumber(rest)
	rest, ok = bytes.CutPrefix(rest, []byte(" FETCH ("))
	if m.Seq = imap.SeqNum(n); !ok || n == 0 {
		return false
	}
	for {
		if rest = c.itemOfLine(m, rest); len(rest) == 0 {
			return false
		}
		if rest[0] != ' ' {
			return string(rest) == ")\r\n"
		}
		rest = rest[1:]
	}
}

// itemOfLine takes an item and returns what follows it, nothing if it is none of
// those that are read here.
func (c *Conn) itemOfLine(m *FetchData, line []byte) []byte {
	var list *[]byte
	var item Items
	space := bytes.IndexByte(line, ' ')
	if space < 0 {
		return nil
	}
	name, rest := line[:space], line[space+1:]
	switch string(name) {
	case "UID":
		n, rest := cutNumber(rest)
		m.UID, m.Has = imap.UID(n), m.Has|ItemUID
		if n == 0 {
			return nil
		}
		return rest
	case "ENVELOPE":
		list, item = &m.Envelope, ItemEnvelope
	case "BODY":
		list, item = &m.Body, ItemBody
	case "BODYSTRUCTURE":
		list, item = &m.BodyStructure, ItemBodyStructure
	default:
		return nil
	}
	n := c.dec.ListLen(rest)
	if n == 0 {
		return nil
	}
	*list, m.Has = rest[:n], m.Has|item
	return rest[n:]
}

// cutNumber takes a number of 32 bits, 0 if there is none.
func cutNumber(b []byte) (n uint64, rest []byte) {
	i := 0
	for i < len(b) && b[i]-'0' < 10 {
		if n = 10*n + uint64(b[i]-'0'); n > 1<<32-1 {
			return 0, nil
		}
		i++
	}
	return n, b[i:]
}

// fetchLine hands on what lineOfFetch has read.
func (c *Conn) fetchLine() error {
	c.dec.TakeLine()
	h := c.taker()
	if h.Fetch == nil {
		return nil
	}
	return h.Fetch(&c.fetched)
}
