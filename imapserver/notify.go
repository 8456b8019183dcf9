package imapserver

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// notification is what the last NOTIFY SET asked for. RFC 5465. It belongs to
// the session but for stale.
type notification struct {
	groups []eventGroup
	all    events // of any group but the selected mailbox's

	told       map[string]mailbox.Glance // what the client knows of other mailboxes
	subscribed map[string]bool
	own        ownMetadata
	observer   mailbox.Observer // nil if nothing is observed
	stop       func()

	stale atomic.Bool // something happened since told; set by any goroutine
}

// notify is NOTIFY. RFC 5465 section 3.1.
func (s *session) notifyCommand(ctx context.Context, cmd *command) error {
	var verb string
	if !s.dec.ExpectSP() || !s.dec.ExpectAtom(&verb) {
		return s.dec.Err()
	}
	switch strings.ToUpper(verb) {
	case "NONE":
		if !s.dec.ExpectCRLF() {
			return s.dec.Err()
		}
		s.endNotify()
		s.notify = &notification{stop: func() {}}
		return nil
	case "SET":
		if !s.dec.ExpectSP() {
			return s.dec.Err()
		}
		status, groups, err := s.parseNotify()
		if err != nil {
			return err
		}
		cmd.fresh = true // it implies a NOOP
		return s.setNotify(ctx, status, groups)
	}
	return imap.BadCommand("Expected SET or NONE")
}

// setNotify replaces what is notified of, or leaves it as it was if that can't be.
func (s *session) setNotify(ctx context.Context, status bool, groups []eventGroup) error {
	n := &notification{groups: groups, stop: func() {}}
	for _, g := range groups {
		if g.filter != filterSelected {
			n.all |= g.events
		}
	}
	old := s.notify
	s.endNotify()
	if err := s.startNotify(ctx, n); err != nil {
		if old != nil && s.startNotify(ctx, old) == nil {
			s.notify = old
		}
		return err
	}
	s.notify = n
	s.tellAccess(n, status)
	return nil
}

func (s *session) endNotify() {
	if s.notify != nil {
		s.notify.stop()
		s.notify = nil
	}
}

// startNotify begins to observe, if any event asks for it.
func (s *session) startNotify(ctx context.Context, n *notification) error {
	if n.all == 0 {
		return nil
	}
	observer, ok := s.account().(mailbox.Observer)
	if !ok {
		return imap.Errorf(imap.CodeCannot, "This mail can't be observed")
	}
	subscribed, err := s.subscriptions(ctx, n)
	if err != nil {
		return err
	}
	n.subscribed = subscribed
	stop, err := observer.Observe(ctx, n.names(), func() {
		n.stale.Store(true)
		s.stream.wake()
	})
	if imap.CodeOf(err) == imap.CodeLimit {
		return &imap.Error{Code: "NOTIFICATIONOVERFLOW", Text: "Too many mailboxes of other users"}
	}
	if err != nil {
		return err
	}
	n.observer, n.stop = observer, stop
	if n.told, err = n.look(ctx); err != nil {
		stop()
	}
	return err
}

// names are those that groups name beside the user's own.
func (n *notification) names() []string {
	var names []string
	for _, g := range n.groups {
		names = slices.AppendSeq(names, maps.Keys(g.names))
		if g.filter == filterSubscribed {
			for name := range n.subscribed {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (s *session) subscriptions(ctx context.Context, n *notification) (map[string]bool, error) {
	if n.all&eventSubscriptionChange == 0 && !slices.ContainsFunc(n.groups, func(g eventGroup) bool { return g.filter == filterSubscribed }) {
		return nil, nil
	}
	list, err := s.account().Subscriptions(ctx)
	set := make(map[string]bool, len(list))
	for _, name := range list {
		set[name] = true
	}
	return set, err
}

func (n *notification) look(ctx context.Context) (map[string]mailbox.Glance, error) {
	n.stale.Store(false)
	all, err := n.observer.Overview(ctx)
	now := make(map[string]mailbox.Glance, len(all))
	for _, g := range all {
		now[g.Name] = g
	}
	return now, err
}

// selectedGroup is what is wanted of the selected mailbox, nil if that is nothing.
func (n *notification) selectedGroup() *eventGroup {
	for i := range n.groups {
		if g := &n.groups[i]; g.filter == filterSelected && g.events != 0 {
			return g
		}
	}
	return nil
}

// tellsFlags says whether flag changes in the selected mailbox are told.
func (n *notification) tellsFlags() bool {
	g := n.selectedGroup()
	return g != nil && g.events&eventFlagChange != 0
}

// holdFlags keeps flag changes back while the client does not want them, and
// tells of all when it does. Meanwhile it does not know everything up to
// HIGHESTMODSEQ.
func (s *session) holdFlags(c *mailbox.Changes) {
	if s.notify != nil && !s.notify.tellsFlags() {
		held := make([]imap.UID, len(c.Flags))
		for i := range c.Flags {
			held[i] = c.Flags[i].UID
		}
		s.untold, c.Flags = s.untold.Union(imap.UIDSetOf(held...)), nil
	} else if !s.untold.Empty() {
		var now []mailbox.Message // apart from c, so that an empty c needs no memory
		err := s.mbox.Fetch(s.ctx, s.untold, &imap.FetchItems{Flags: true, ModSeq: true}, func(m *mailbox.Message) error {
			now = append(now, *m)
			return nil
		})
		c.Flags = append(c.Flags, now...)
		if err == nil {
			s.untold = nil
		}
	}
	if !s.untold.Empty() {
		c.HighestModSeq = 0
	}
}

// watchSelected has news of the selected mailbox end the wait for a command, if
// they are wanted then.
func (s *session) watchSelected() (stop func()) {
	if s.notify == nil || s.mbox == nil || s.notify.selectedGroup() == nil || s.dec.Buffered() > 0 {
		return func() {}
	}
	return s.mbox.Watch(s.stream.wake)
}

// news tells what happened while no command was under way.
func (s *session) news() {
	if s.notify == nil {
		return
	}
	if g := s.notify.selectedGroup(); g != nil {
		s.sync(false, g.delayed)
	}
	s.notifyOthers()
}

// fetchNew shows what the client wants to see of new messages, but for its own.
func (s *session) fetchNew(fresh imap.UIDSet) {
	own := s.appended
	s.appended = nil
	if s.notify == nil {
		return
	}
	g := s.notify.selectedGroup()
	if fresh = fresh.Minus(own); g == nil || g.fetch == nil || fresh.Empty() {
		return
	}
	items := g.fetch.items
	items.MarkSeen = items.MarkSeen && !s.examined
	req := *g.fetch
	req.uid = true
	err := s.mbox.Fetch(s.ctx, fresh, &items, func(m *mailbox.Message) error { return s.writeMessage(&req, m) })
	if err != nil {
		s.logger().Debug("new messages can't be shown", "mailbox", s.name, "error", err)
	}
}

// wanted are the events of a mailbox that is not the selected one, or of that
// one those that are not about messages.
func (s *session) wanted(n *notification, name string) events {
	var all events
	for i := range n.groups {
		if g := &n.groups[i]; g.filter != filterSelected && s.covers(n, g, name) {
			all |= g.events
		}
	}
	if s.mbox != nil && name == s.name {
		all &^= messageEvents
	}
	return all
}

// covers says whether a group is about a mailbox. RFC 5465 section 6.
func (s *session) covers(n *notification, g *eventGroup, name string) bool {
	switch g.filter {
	case filterInboxes:
		return name == imap.Inbox
	case filterPersonal:
		return s.personal(name)
	case filterSubscribed:
		return n.subscribed[name]
	case filterSubtree:
		for ; name != ""; name = parentOf(name) {
			if g.names[name] {
				return true
			}
		}
		return false
	default:
		return g.names[name]
	}
}

// personal says whether a name is in the user's own part of the tree.
func (s *session) personal(name string) bool {
	namespaces, ok := s.account().(mailbox.Namespaces)
	if !ok {
		return true
	}
	list := namespaces.Namespaces()
	return !slices.ContainsFunc(slices.Concat(list.Others, list.Shared), func(prefix string) bool {
		return prefix != "" && strings.HasPrefix(name+string(imap.Delimiter), prefix)
	})
}

// tellAccess says of which mailboxes nothing will be heard, as they may not be
// read, and how the others stand if that was asked for.
func (s *session) tellAccess(n *notification, status bool) {
	for _, name := range sortedNames(n.told) {
		g := n.told[name]
		events := s.wanted(n, name)
		switch {
		case events&messageEvents == 0:
		case !g.Readable:
			s.writeList("LIST", &mailbox.ListEntry{Name: name, Attrs: []imap.Attr{attrNoAccess}})
		case status:
			s.writeStatus(name, s.statusOf(events), &g.Status)
		}
	}
}

const attrNoAccess imap.Attr = `\NoAccess`

func sortedNames(m map[string]mailbox.Glance) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// statusOf are the counters that go with events. RFC 5465 sections 3.1 and 5.
func (s *session) statusOf(e events) imap.StatusItems {
	items := imap.StatusMessages | imap.StatusUIDNext | imap.StatusUIDValidity
	if e&eventFlagChange != 0 {
		items |= imap.StatusUnseen
	}
	if s.on&condStore != 0 {
		items |= imap.StatusHighestModSeq
	}
	return items
}

// notifyOthers tells what happened in mailboxes other than the selected one,
// and to names. What can't be asked now is told later.
func (s *session) notifyOthers() {
	n := s.notify
	if n == nil || n.observer == nil || !n.stale.Load() {
		return
	}
	now, err := n.look(s.ctx)
	if err != nil {
		s.logger().Debug("mailboxes can't be observed", "error", err)
		return
	}
	subscribed, err := s.subscriptions(s.ctx, n)
	if err != nil {
		s.logger().Debug("subscriptions can't be read", "error", err)
		subscribed = n.subscribed
	}
	before, was := n.told, n.subscribed
	n.told, n.subscribed = now, subscribed
	changed := s.changedNames(before, now, was)
	attrs := s.attrsOf(changed)
	for _, c := range changed {
		s.writeChanged(c, attrs[c.name])
	}
	for _, name := range sortedNames(now) {
		s.notifyStatus(n, before, now[name])
	}
	s.notifyMetadata(n)
}

// notifyStatus tells of a mailbox whose counters have changed.
func (s *session) notifyStatus(n *notification, told map[string]mailbox.Glance, now mailbox.Glance) {
	events := s.wanted(n, now.Name)
	before, known := told[now.Name]
	if events&messageEvents == 0 || !known || !now.Readable || !before.Readable {
		return
	}
	a, b := before.Status, now.Status
	moved := a.Messages != b.Messages || a.UIDNext != b.UIDNext || a.UIDValidity != b.UIDValidity
	flags := a.Unseen != b.Unseen || s.on&condStore != 0 && a.HighestModSeq != b.HighestModSeq
	if moved || flags && events&eventFlagChange != 0 {
		s.writeStatus(now.Name, s.statusOf(events), &now.Status)
	}
}

// changedName is a line of LIST that tells of an event.
type changedName struct {
	name, old string // old is not empty after a RENAME
	gone      bool
	noAccess  bool
}

// changedNames finds the mailboxes that came, went, were renamed, became readable
// or not, and those whose subscription changed, as far as that is asked for.
func (s *session) changedNames(before, now map[string]mailbox.Glance, was map[string]bool) []changedName {
	n := s.notify
	moves := renames(before, now)
	out := map[string]changedName{}
	add := func(c changedName, e events) {
		if s.wanted(n, c.name)&e != 0 {
			out[c.name] = c
		}
	}
	for name, g := range now {
		old, known := before[name]
		switch {
		case moves.withParent(name):
		case moves.old[name] != "":
			add(changedName{name: name, old: moves.old[name]}, eventMailboxName)
		case !known:
			add(changedName{name: name, noAccess: !g.Readable}, eventMailboxName)
			s.addParent(name, now, add)
		case old.Readable != g.Readable:
			add(changedName{name: name, noAccess: !g.Readable}, eventMailboxName|messageEvents)
		}
	}
	for name := range before {
		if _, is := now[name]; !is && moves.new[name] == "" {
			add(changedName{name: name, gone: true}, eventMailboxName)
			s.addParent(name, now, add)
		}
	}
	for name := range n.subscribed {
		if !was[name] {
			add(changedName{name: name, gone: now[name].Name == ""}, eventSubscriptionChange)
		}
	}
	for name := range was {
		if !n.subscribed[name] {
			add(changedName{name: name, gone: now[name].Name == ""}, eventSubscriptionChange)
		}
	}
	lines := make([]changedName, 0, len(out))
	for _, c := range out {
		lines = append(lines, c)
	}
	slices.SortFunc(lines, func(a, b changedName) int { return cmp.Compare(a.name, b.name) })
	return lines
}

// addParent adds the level above, whose children have changed.
func (s *session) addParent(name string, now map[string]mailbox.Glance, add func(changedName, events)) {
	if i := strings.LastIndexByte(name, imap.Delimiter); i > 0 && now[name[:i]].Name != "" {
		add(changedName{name: name[:i], noAccess: !now[name[:i]].Readable}, eventMailboxName)
	}
}

// renamed is which mailboxes have new names.
type renamed struct {
	old map[string]string // by new name
	new map[string]string // by old name
}

// renames finds them by the ids of mailboxes.
func renames(before, now map[string]mailbox.Glance) renamed {
	gone := map[imap.ObjectID]string{}
	for name, g := range before {
		if _, is := now[name]; !is && g.Status.MailboxID != "" {
			gone[g.Status.MailboxID] = name
		}
	}
	r := renamed{map[string]string{}, map[string]string{}}
	for name, g := range now {
		if old := gone[g.Status.MailboxID]; old != "" && before[name].Name == "" {
			r.old[name], r.new[old] = old, name
		}
	}
	return r
}

// withParent says whether a mailbox has its new name because the level above
// has: then only that is told.
func (r renamed) withParent(name string) bool {
	i, j := strings.LastIndexByte(name, imap.Delimiter), strings.LastIndexByte(r.old[name], imap.Delimiter)
	return i > 0 && j > 0 && name[i:] == r.old[name][j:] && r.old[name[:i]] == r.old[name][:j]
}

// accept takes what this session itself did to names as told (RFC 5465 section 5).
func (s *session) accept(names []string) {
	n := s.notify
	if n == nil || n.observer == nil || len(names) == 0 {
		return
	}
	now, err := n.look(s.ctx)
	if err != nil {
		return
	}
	n.stale.Store(true) // others may have done something too
	subscribed, err := s.subscriptions(s.ctx, n)
	if err != nil {
		return
	}
	concerns := func(name string) bool {
		return slices.ContainsFunc(names, func(own string) bool {
			return name == own || strings.HasPrefix(name, own+string(imap.Delimiter)) || strings.HasPrefix(own, name+string(imap.Delimiter))
		})
	}
	maps.DeleteFunc(n.told, func(name string, _ mailbox.Glance) bool { return concerns(name) && now[name].Name == "" })
	for name, g := range now {
		if _, known := n.told[name]; !known && concerns(name) {
			n.told[name] = g
		}
	}
	maps.DeleteFunc(n.subscribed, func(name string, _ bool) bool { return concerns(name) && !subscribed[name] })
	for name := range subscribed {
		if concerns(name) {
			n.subscribed[name] = true
		}
	}
}

// attrsOf asks for the attributes of all names that are there, at once: each LIST
// goes through the whole tree.
func (s *session) attrsOf(changed []changedName) map[string][]imap.Attr {
	var names []string
	for _, c := range changed {
		if !c.gone {
			names = append(names, c.name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	found, err := s.account().List(s.ctx, names)
	if err != nil {
		s.logger().Debug("names that have changed can't be listed", "error", err)
	}
	attrs := make(map[string][]imap.Attr, len(found))
	for i := range found {
		attrs[found[i].Name] = found[i].Attrs
	}
	return attrs
}

// writeChanged writes a LIST response with accurate attributes. RFC 5465
// sections 5.4 and 5.5.
func (s *session) writeChanged(c changedName, attrs []imap.Attr) {
	e := mailbox.ListEntry{Name: c.name, Attrs: attrs}
	if c.gone {
		e.Attrs = []imap.Attr{imap.AttrNonExistent}
	}
	if c.noAccess {
		e.Attrs = append(slices.Clip(e.Attrs), attrNoAccess)
	}
	if s.notify.subscribed[c.name] {
		e.Attrs = append(slices.Clip(e.Attrs), imap.AttrSubscribed)
	}
	s.beginList("LIST", &e)
	if c.old != "" {
		s.enc.RawString(` ("OLDNAME" (`).Mailbox(c.old).RawString("))")
	}
	s.enc.CRLF()
}
