package imapserver

import (
	"strings"

	"github.com/roost-mail/roost/imap"
)

// events is a set of the event types of RFC 5465 section 5.
type events uint8

const (
	eventMessageNew events = 1 << iota
	eventMessageExpunge
	eventFlagChange
	eventMailboxName
	eventSubscriptionChange
	eventMailboxMetadataChange
	eventServerMetadataChange

	messageEvents  = eventMessageNew | eventMessageExpunge | eventFlagChange
	metadataEvents = eventMailboxMetadataChange | eventServerMetadataChange
)

// eventNames are the events that are served, in the order of their bits.
var eventNames = [...]string{"MessageNew", "MessageExpunge", "FlagChange", "MailboxName", "SubscriptionChange", "MailboxMetadataChange", "ServerMetadataChange"}

// badEvent lists what is served where something else was asked for (RFC 5465
// section 3.1).
func badEvent() error {
	return &imap.Error{Code: "BADEVENT", Text: "Unsupported event"}
}

// filter says which mailboxes a group of events is about. RFC 5465 section 6.
type filter uint8

const (
	filterSelected filter = iota
	filterInboxes
	filterPersonal
	filterSubscribed
	filterSubtree
	filterMailboxes
)

// eventGroup is one parenthesis of NOTIFY SET.
type eventGroup struct {
	filter  filter
	delayed bool // SELECTED-DELAYED
	names   map[string]bool
	events  events
	fetch   *fetchRequest // what MessageNew shows of the selected mailbox's messages; nil: nothing
}

// Bounds of a NOTIFY.
const (
	maxEventGroups = 100
	maxEventNames  = 1000
)

// parseNotify reads the arguments of NOTIFY SET behind SET and its space, to the
// end of the line.
func (s *session) parseNotify() (status bool, groups []eventGroup, err error) {
	if b, ok := s.dec.PeekByte(); ok && b != '(' {
		var word string
		if !s.dec.ExpectAtom(&word) || !s.dec.Expect(strings.EqualFold(word, "STATUS"), "STATUS") || !s.dec.ExpectSP() {
			return false, nil, s.dec.Err()
		}
		status = true
	}
	names := 0
	for {
		g, err := s.parseEventGroup()
		if err != nil {
			return false, nil, err
		}
		groups = append(groups, g)
		names += len(g.names)
		if len(groups) > maxEventGroups || names > maxEventNames {
			return false, nil, imap.BadCommand("Too many mailboxes in NOTIFY")
		}
		if !s.dec.SP() {
			break
		}
	}
	if !s.dec.ExpectCRLF() {
		return false, nil, s.dec.Err()
	}
	return status, groups, checkGroups(groups)
}

// checkGroups finds what may not stand together. RFC 5465 sections 5 and 6.1.
func checkGroups(groups []eventGroup) error {
	selected := 0
	for _, g := range groups {
		both := g.events & (eventMessageNew | eventMessageExpunge)
		switch {
		case both != 0 && both != eventMessageNew|eventMessageExpunge:
			return imap.BadCommand("MessageNew and MessageExpunge need each other")
		case g.events&eventFlagChange != 0 && both == 0:
			return imap.BadCommand("FlagChange needs MessageNew and MessageExpunge")
		case g.filter == filterSelected && g.events&^messageEvents != 0:
			return imap.BadCommand("SELECTED takes message events only")
		case g.filter != filterSelected && g.fetch != nil:
			return imap.BadCommand("FETCH items go with SELECTED only")
		}
		if g.filter == filterSelected {
			selected++
		}
	}
	if selected > 1 {
		return imap.BadCommand("SELECTED may stand once only")
	}
	return nil
}

func (s *session) parseEventGroup() (g eventGroup, err error) {
	if !s.dec.ExpectSpecial('(') {
		return g, s.dec.Err()
	}
	var name string
	if !s.dec.ExpectAtom(&name) || !s.dec.ExpectSP() {
		return g, s.dec.Err()
	}
	switch strings.ToUpper(name) {
	case "SELECTED":
		g.filter = filterSelected
	case "SELECTED-DELAYED":
		g.filter, g.delayed = filterSelected, true
	case "INBOXES":
		g.filter = filterInboxes
	case "PERSONAL":
		g.filter = filterPersonal
	case "SUBSCRIBED":
		g.filter = filterSubscribed
	case "SUBTREE":
		g.filter = filterSubtree
	case "MAILBOXES":
		g.filter = filterMailboxes
	default:
		return g, imap.BadCommand("Unknown mailbox filter")
	}
	if g.filter == filterSubtree || g.filter == filterMailboxes {
		if g.names, err = s.parseNotifyNames(); err != nil {
			return g, err
		}
	}
	if err := s.parseEvents(&g); err != nil {
		return g, err
	}
	s.dec.ExpectSpecial(')')
	return g, s.dec.Err()
}

// parseNotifyNames reads one mailbox or a list of them, and the space behind.
func (s *session) parseNotifyNames() (names map[string]bool, err error) {
	names = map[string]bool{}
	left := maxEventNames
	one := func() error {
		var name string
		if !s.dec.ExpectMailbox(&name) {
			return s.dec.Err()
		}
		if left--; left < 0 {
			return imap.BadCommand("Too many mailboxes in NOTIFY")
		}
		names[name] = true
		return nil
	}
	if b, ok := s.dec.PeekByte(); ok && b == '(' {
		err = s.dec.List(one)
	} else {
		err = one()
	}
	if err == nil && !s.dec.ExpectSP() {
		err = s.dec.Err()
	}
	return names, err
}

// parseEvents reads NONE or a list of events. Events without parentheses
// around them, as an example of the RFC has them, are taken as well.
func (s *session) parseEvents(g *eventGroup) error {
	if b, ok := s.dec.PeekByte(); ok && b == '(' {
		if !s.dec.ExpectSpecial('(') {
			return s.dec.Err()
		}
		if err := s.parseEventList(g); err != nil {
			return err
		}
		s.dec.ExpectSpecial(')')
		return s.dec.Err()
	}
	return s.parseEventList(g)
}

func (s *session) parseEventList(g *eventGroup) error {
	for {
		var name string
		if !s.dec.ExpectAtom(&name) {
			return s.dec.Err()
		}
		if strings.EqualFold(name, "NONE") {
			return nil
		}
		event := eventNamed(name)
		if event == 0 {
			return badEvent()
		}
		g.events |= event
		if b, ok := s.dec.PeekByte(); !ok || b != ' ' {
			return s.dec.Err()
		}
		s.dec.SP()
		if b, ok := s.dec.PeekByte(); event == eventMessageNew && ok && b == '(' {
			if err := s.parseEventFetch(g); err != nil {
				return err
			}
			if !s.dec.SP() {
				return s.dec.Err()
			}
		}
	}
}

func eventNamed(name string) events {
	for i, known := range eventNames {
		if strings.EqualFold(name, known) {
			return 1 << i
		}
	}
	return 0
}

// parseEventFetch reads the FETCH items of MessageNew.
func (s *session) parseEventFetch(g *eventGroup) error {
	g.fetch = &fetchRequest{}
	err := s.dec.List(func() error {
		var name string
		if !s.dec.ExpectAtom(&name) {
			return s.dec.Err()
		}
		return s.parseFetchItem(g.fetch, strings.ToUpper(name))
	})
	if err == nil && !g.fetch.asksAnything() {
		err = imap.BadCommand("Empty FETCH list")
	}
	return err
}
