package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

func (m *model) setACL(s *modelSession) {
	m.t.Helper()
	b := m.boxes[m.r.IntN(4)]
	if !m.chance(4) {
		s = m.sessionOf(b.owner)
		if s.idling {
			m.done(s)
		}
	}
	ids := []string{"someone1", "someone2", "someone2", "someone5", "someone5", "anyone", "authenticated", "$team", "$staff", "$other"}
	ids = slices.DeleteFunc(ids, func(id string) bool { return id == b.owner })
	if m.chance(10) {
		ids = []string{"owner", b.owner}
	}
	id := ids[m.r.IntN(len(ids))]
	if m.chance(5) {
		id = "-" + id
	}
	want := b.lacks(s.user, "a", noMailbox)
	if m.chance(5) {
		if want == "" {
			delete(b.acl, id)
			want = "OK"
		}
		s.do("DELETEACL "+b.nameFor(s.user)+" "+id, want)
	} else {
		change := []string{"", "", "+", "-"}[m.r.IntN(4)]
		letters := m.someLetters()
		if want == "" {
			b.setACL(s.user, id, change, letters)
			want = "OK"
		}
		s.do("SETACL "+b.nameFor(s.user)+" "+id+` "`+change+letters+`"`, want)
	}
	s.learn()
	m.verify(b, m.users...)
}

// someLetters are the letters of any set of rights; those by which a mailbox can
// be used are more frequent.
func (m *model) someLetters() string {
	if m.chance(8) {
		return []string{"", "cd", "lrswd", "lrswipkxtecda"}[m.r.IntN(4)]
	}
	return lettersIf(func(c rune) bool {
		if strings.ContainsRune("lrswtie", c) {
			return !m.chance(4)
		}
		return m.chance(3)
	})
}

func (m *model) sessionOf(user string) *modelSession {
	i := slices.IndexFunc(m.sessions, func(s *modelSession) bool { return s.user == user })
	return m.sessions[i]
}

func (m *model) rename(s *modelSession) {
	m.t.Helper()
	b := m.boxes[m.r.IntN(3)]
	names := []string{"Work", "Play", "Plans/2026", "Other", "Gr&APwA3w-e"}
	to := &mailBox{owner: b.owner, name: names[m.r.IntN(len(names))]}
	taken := slices.ContainsFunc(m.boxes, func(x *mailBox) bool { return x.owner == to.owner && x.name == to.name })
	if taken {
		return
	}
	text := "RENAME " + b.nameFor(s.user) + " " + to.nameFor(s.user)
	switch want := b.lacks(s.user, "x", noMailbox); {
	case want != "":
		s.do(text, want)
	case s.user != b.owner:
		s.do(text, noPerm) // only owners make mailboxes at the top
	default:
		b.name = to.name
		s.do(text, "OK")
	}
	s.learn()
	m.verify(b, m.users...)
}

// remake is DELETE, and CREATE by the owner: another mailbox of the same name,
// without an ACL. Sessions that have the old one open can't use it any more.
func (m *model) remake(s *modelSession) {
	m.t.Helper()
	i := m.r.IntN(3)
	b := m.boxes[i]
	text := "DELETE " + b.nameFor(s.user)
	if want := b.lacks(s.user, "x", noMailbox); want != "" || !m.chance(4) {
		if want != "" {
			s.do(text, want)
		}
		return
	}
	b.gone = true
	s.do(text, "OK")
	m.create(b.owner, b.name)
	last := len(m.boxes) - 1
	m.boxes[i], m.boxes = m.boxes[last], m.boxes[:last]
	m.verify(m.boxes[i], m.users...)
}

func (m *model) status(s *modelSession) {
	m.t.Helper()
	m.verifyStatus(s.imapConn, m.someBox(), s.user, func(text, want string) { s.do(text, want) })
	s.learn()
}

func (m *model) myRights(s *modelSession) {
	m.t.Helper()
	b := m.someBox()
	name, rights := b.nameFor(s.user), b.rights(s.user)
	if !strings.ContainsAny(rights, "lrikxa") {
		s.do("MYRIGHTS "+name, noMailbox)
	} else {
		s.do("MYRIGHTS "+name, "OK")
		if want := "* MYRIGHTS " + name + " " + virtual(rights); !slices.Contains(s.answer, want) {
			m.fatalf("%s: want %q", s.user, want)
		}
	}
	s.learn()
}

func (m *model) list(s *modelSession) {
	m.t.Helper()
	var want []string
	for _, b := range m.boxes {
		if mayAll(b.rights(s.user), "l") {
			want = append(want, b.nameFor(s.user))
		}
	}
	s.do(`LIST "" "*"`, "OK")
	var got []string
	for _, line := range s.answer {
		if _, name, ok := strings.Cut(line, `"/" `); ok && !strings.Contains(line, `\Noselect`) {
			got = append(got, strings.Trim(name, `"`))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	// A level above a mailbox that was renamed away stays, as a mailbox or not.
	got = slices.DeleteFunc(got, func(name string) bool { return strings.HasSuffix(name, "Plans") })
	if !slices.Equal(got, want) {
		m.fatalf("%s: LIST: got %q, want %q", s.user, got, want)
	}
	s.learn()
}

func (m *model) someUser() string { return m.users[m.r.IntN(len(m.users))] }

// verify compares what users see of a mailbox, in sessions of their own.
func (m *model) verify(b *mailBox, users ...string) {
	m.t.Helper()
	if b.gone {
		return
	}
	for _, user := range users {
		c := m.probes[user]
		check := func(text, want string) {
			m.t.Helper()
			c.command(text)
			if tagged := c.answer[len(c.answer)-1]; !strings.HasPrefix(tagged, want) {
				m.fatalf("%s (%s): %s\nanswered %q, want %q", user, b.rights(user), text, tagged, want)
			}
		}
		m.verifyStatus(c, b, user, check)
		if want := b.lacks(user, "r", noMailbox); want != "" {
			check("EXAMINE "+b.nameFor(user), want)
			continue
		}
		check("EXAMINE "+b.nameFor(user), "OK [READ-ONLY]")
		check("UID FETCH 1:* (UID FLAGS)", "OK")
		m.verifyFlags(c, b, user)
		unseen := "* SEARCH"
		for _, msg := range b.messages {
			if !msg.seen[user] {
				unseen += " " + strconv.Itoa(msg.uid)
			}
		}
		check("UID SEARCH UNSEEN", "OK")
		if !slices.Contains(c.answer, unseen) {
			m.fatalf("%s: UID SEARCH UNSEEN in %s: got %q, want %q", user, b.name, c.answer, unseen)
		}
	}
}

func (m *model) verifyStatus(c *imapConn, b *mailBox, user string, check func(text, want string)) {
	m.t.Helper()
	text := "STATUS " + b.nameFor(user) + " (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)"
	if want := b.lacks(user, "r", noMailbox); want != "" {
		check(text, want)
		return
	}
	check(text, "OK")
	unseen := 0
	for _, msg := range b.messages {
		if !msg.seen[user] {
			unseen++
		}
	}
	want := fmt.Sprintf("(MESSAGES %d UIDNEXT %d UIDVALIDITY %s UNSEEN %d)", len(b.messages), b.next, b.validity, unseen)
	if !slices.ContainsFunc(c.answer, func(line string) bool { return strings.HasSuffix(line, want) }) {
		m.fatalf("%s: STATUS of %s: got %q, want %q", user, b.name, c.answer, want)
	}
}

func (m *model) verifyFlags(c *imapConn, b *mailBox, user string) {
	m.t.Helper()
	got := []string{}
	for _, line := range c.answer {
		if p := fetchedUID.FindStringSubmatch(line); p != nil {
			flags := strings.Fields(fetchedFlags.FindStringSubmatch(line)[1])
			flags = slices.DeleteFunc(flags, func(f string) bool { return f == `\Recent` })
			slices.Sort(flags)
			got = append(got, p[1]+" "+strings.Join(flags, " "))
		}
	}
	want := []string{}
	for _, msg := range b.messages {
		flags := msg.visible(user)
		slices.Sort(flags)
		want = append(want, fmt.Sprintf("%d %s", msg.uid, strings.Join(flags, " ")))
	}
	if !slices.Equal(got, want) {
		m.fatalf("%s sees in %s/%s\n\t%q\nwant\n\t%q", user, b.owner, b.name, got, want)
	}
}
