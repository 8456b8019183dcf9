// Package acltest says once more, in maps and letters, who may do what with an owner's
// mailboxes: what tests compare the program with.
package acltest

import (
	"maps"
	"slices"
	"strings"
)

// Model is the truth about one owner's mail, for one goroutine.
type Model struct {
	Owner       string
	Live, Inbox bool                // acl_inherit = live, acl_defaults_from_inbox
	Boxes       map[string]Lines    // by mailbox
	Globals     []Global            // the administrator's
	Groups      map[string][]string // by user
}

// Lines are letters by identifier as ACL files have it, "-" before it for what is denied.
type Lines map[string]string

// Global is a line of the administrator's; Pattern is "*" or a mailbox.
type Global struct{ Pattern, ID, Letters string }

// ID is the identifier for what SETACL names, without "-".
func ID(shown string) string {
	switch {
	case shown == "anyone" || shown == "authenticated" || shown == "owner":
		return shown
	case strings.HasPrefix(shown, "$"):
		return "group=" + shown[1:]
	case strings.HasPrefix(shown, "!$"):
		return "group-override=" + shown[2:]
	}
	return "user=" + shown
}

// Shown is the inverse of ID, for what is denied too.
func Shown(id string) string {
	return strings.NewReplacer("user=", "", "group-override=", "!$", "group=", "$").Replace(id)
}

// Has says whether there is such a mailbox.
func (m *Model) Has(name string) bool {
	_, ok := m.Boxes[name]
	return ok
}

// May says whether user has a right on a mailbox that exists.
func (m *Model) May(user, name, letter string) bool {
	return m.Has(name) && strings.Contains(m.Rights(name, user), letter)
}

var kinds = []string{"anyone", "authenticated", "group=", "owner", "user=", "group-override="}

// speaks says whether an identifier of a kind is about user.
func (m *Model) speaks(kind, id, user string) bool {
	name, ok := strings.CutPrefix(id, kind)
	switch {
	case !ok || kind[len(kind)-1] != '=' && name != "":
		return false
	case kind == "owner":
		return user == m.Owner
	case kind == "user=":
		return name == user
	case strings.HasPrefix(kind, "group"):
		return slices.Contains(m.Groups[user], name)
	}
	return true
}

func plus(a, b string) string { return normal(a + b) }
func minus(a, b string) string {
	return strings.Map(func(r rune) rune { return dropIf(strings.ContainsRune(b, r), r) }, a)
}

func dropIf(drop bool, r rune) rune {
	if drop {
		return -1
	}
	return r
}

func normal(s string) string {
	return strings.Map(func(r rune) rune { return dropIf(!strings.ContainsRune(s, r), r) }, "lrwstipekxa")
}

// follows are the lines that hold for a mailbox as long as it has none.
func (m *Model) follows(name string) Lines {
	for above := name; m.Live && strings.Contains(above, "/"); {
		above = above[:strings.LastIndexByte(above, '/')]
		if len(m.Boxes[above]) > 0 {
			return m.Boxes[above]
		}
	}
	if m.Inbox && name != "INBOX" {
		return m.Boxes["INBOX"]
	}
	return nil
}

// Lines are those that hold for a mailbox, without the administrator's.
func (m *Model) Lines(name string) Lines {
	if own := m.Boxes[name]; len(own) > 0 {
		return own
	}
	return m.follows(name)
}

// Rights is what the documentation says of Dovecot's order.
func (m *Model) Rights(name, user string) string {
	granted, denied := "", ""
	if user == m.Owner {
		granted = "lrwstipekxa"
	}
	local := m.Lines(name)
	for _, kind := range kinds {
		weak := kind == "anyone" || kind == "authenticated" || kind == "group="
		if user == m.Owner && weak {
			continue
		}
		granted, denied = m.hear(local, kind, user, granted, denied)
	}
	if user == m.Owner {
		granted, denied = plus(granted, "a"), minus(denied, "a")
	}
	global := Lines{}
	for _, g := range m.Globals {
		if g.Pattern == "*" || g.Pattern == name {
			global[g.ID] = plus(global[g.ID], g.Letters)
		}
	}
	about := func(id string) bool {
		return slices.ContainsFunc(kinds, func(kind string) bool { return m.speaks(kind, strings.TrimPrefix(id, "-"), user) })
	}
	if slices.ContainsFunc(slices.Collect(maps.Keys(global)), about) {
		denied = ""
	}
	for _, kind := range kinds {
		granted, denied = m.hear(global, kind, user, granted, denied)
	}
	return minus(normal(granted), denied)
}

// hear takes in the lines of a kind: the first identifier's replace, the others' add.
func (m *Model) hear(lines Lines, kind, user, granted, denied string) (newGranted, newDenied string) {
	ids := map[string]bool{}
	for id := range lines {
		if id = strings.TrimPrefix(id, "-"); m.speaks(kind, id, user) {
			ids[id] = true
		}
	}
	for i, id := range slices.Sorted(maps.Keys(ids)) {
		if letters, ok := lines[id]; ok {
			granted = letters + granted[:len(granted)*min(i, 1)]
		}
		if letters, ok := lines["-"+id]; ok {
			denied = letters + denied[:len(denied)*min(i, 1)]
		}
	}
	return granted, denied
}

// Set is SETACL and, with a change of 'x', DELETEACL by user, who may.
func (m *Model) Set(name, id string, change byte, letters, user string) {
	lines := maps.Clone(m.Lines(name))
	if lines == nil {
		lines = Lines{}
	}
	own := id == "user="+user || user == m.Owner && id == "owner"
	old, there := lines[id]
	if !there && own && user == m.Owner && change != '=' {
		old = "lrwstipekxa"
	}
	switch change {
	case '=':
		lines[id] = normal(letters)
	case '+':
		lines[id] = plus(old, letters)
	case '-':
		if there || own {
			lines[id] = minus(old, letters)
		}
	case 'x':
		delete(lines, id)
	}
	if got, is := lines[id]; is && own {
		lines[id] = plus(got, "a")
	}
	if id[0] == '-' && lines[id] == "" {
		delete(lines, id)
	}
	m.become(name, lines)
}

// Administer gives an identifier, "-" before it for what is denied, these letters and no
// others, or with none takes it out.
func (m *Model) Administer(name, id, letters string) {
	lines := maps.Clone(m.Lines(name))
	if lines == nil {
		lines = Lines{}
	}
	bare := strings.TrimPrefix(id, "-")
	delete(lines, bare)
	delete(lines, "-"+bare)
	if letters != "" {
		lines[id] = normal(letters)
	}
	m.become(name, lines)
}

// become makes of the lines that hold for a mailbox others.
func (m *Model) become(name string, lines Lines) {
	before := m.Lines(name)
	_, hadOwners := before["owner"]
	_, deniedOwners := before["-owner"]
	switch {
	case maps.Equal(lines, before):
		return // nothing of what it follows becomes its own
	case len(lines) == 0 && len(m.follows(name)) > 0 && !hadOwners && !deniedOwners:
		lines["owner"] = "lrwstipekxa"
	}
	m.Boxes[name] = lines
}

// MayCreate says whether user may make a mailbox of a name, if that is free.
func (m *Model) MayCreate(name, user string) bool {
	for strings.Contains(name, "/") {
		name = name[:strings.LastIndexByte(name, '/')]
		if _, ok := m.Boxes[name]; ok {
			return strings.Contains(m.Rights(name, user), "k")
		}
	}
	return user == m.Owner
}

// Create makes a mailbox, and levels above it that are missing.
func (m *Model) Create(name string) {
	var lines Lines
	for above := name; !m.Live && strings.Contains(above, "/"); {
		above = above[:strings.LastIndexByte(above, '/')]
		if have, ok := m.Boxes[above]; ok {
			lines = have
			break
		}
	}
	for {
		if _, ok := m.Boxes[name]; ok {
			return
		}
		m.Boxes[name] = maps.Clone(lines)
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return
		}
		name = name[:i]
	}
}

// Renamed are the names that a mailbox and those below it get; free says that none is taken.
func (m *Model) Renamed(from, to string) (moves map[string]string, free bool) {
	moves, free = map[string]string{from: to}, !m.Has(to)
	for name := range m.Boxes {
		if rest, below := strings.CutPrefix(name, from+"/"); below {
			moves[name] = to + "/" + rest
			free = free && !m.Has(to+"/"+rest)
		}
	}
	return moves, free
}

// Rename gives a mailbox and those below it other names, which are free.
func (m *Model) Rename(from, to string) {
	moves, _ := m.Renamed(from, to)
	moved := map[string]Lines{}
	for old, renamed := range moves {
		moved[renamed] = m.Boxes[old]
	}
	if i := strings.LastIndexByte(to, '/'); i > 0 && !m.Has(to[:i]) {
		m.Create(to[:i])
	}
	for old := range moves {
		delete(m.Boxes, old)
	}
	maps.Copy(m.Boxes, moved)
}

// Clone is a copy that shares nothing that is changed.
func (m *Model) Clone() *Model {
	c := *m
	c.Boxes = map[string]Lines{}
	for name, lines := range m.Boxes {
		c.Boxes[name] = maps.Clone(lines)
	}
	return &c
}
