package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// modelSession is a connection and what its client believes.
type modelSession struct {
	*imapConn
	m        *model
	user     string
	box      *mailBox // selected, or nil
	examined bool
	clientView
}

// do sends a command and takes in the answer, whose tagged line has to begin
// in one of the ways wanted. It reports whether that is OK.
func (s *modelSession) do(text string, want ...string) bool {
	s.t.Helper()
	s.command(text)
	return s.hear(text, want...)
}

func (s *modelSession) hear(text string, want ...string) bool {
	s.t.Helper()
	s.m.trace = append(s.m.trace, fmt.Sprintf("%d %s: %s\n\t%s", s.m.step, s.user, text, strings.Join(s.answer, "\n\t")))
	for _, line := range s.answer[:len(s.answer)-1] {
		s.untagged(line)
	}
	tagged := s.answer[len(s.answer)-1]
	if !slices.ContainsFunc(want, func(w string) bool { return strings.HasPrefix(tagged, w) }) {
		s.m.fatalf("%s (%s): %s\nanswered %q, want %q", s.user, s.rightsNow(), text, tagged, want)
	}
	return strings.HasPrefix(tagged, "OK")
}

func (s *modelSession) rightsNow() string {
	if s.box == nil {
		return "nothing selected"
	}
	return s.box.owner + "/" + s.box.name + " " + s.box.rights(s.user)
}

// untagged does what a client does when it is told something.
func (s *modelSession) untagged(line string) {
	s.t.Helper()
	if err := s.apply(line); err != nil {
		s.m.fatalf("%s: %v", s.user, err)
	}
}

// learn asks for what the client was only told a number of.
func (s *modelSession) learn() {
	s.t.Helper()
	if from := s.firstUnknown(); from != 0 {
		s.do(fmt.Sprintf("UID FETCH %d:* (FLAGS)", from), s.orRefused("r")...)
	}
}

// orRefused is OK, or what the lack of rights in the selected mailbox makes of it.
func (s *modelSession) orRefused(need string) []string {
	if s.box.gone {
		return []string{noMailbox}
	}
	if mayAll(s.box.rights(s.user), need) {
		return []string{"OK"}
	}
	return []string{noPerm}
}

// some picks messages that the client knows, and names them by sequence
// numbers or UIDs. There may be none: then ok is false.
func (s *modelSession) some() (uids []int, set string, byUID, ok bool) {
	byUID = s.m.chance(2)
	var names []string
	complete := !slices.ContainsFunc(s.known, func(k knownMessage) bool { return k.uid == 0 })
	if complete && len(s.known) > 0 && s.m.chance(3) {
		from := s.m.r.IntN(len(s.known))
		for _, k := range s.known[from:] {
			uids = append(uids, k.uid)
		}
		if byUID {
			return uids, fmt.Sprintf("%d:*", s.known[from].uid), byUID, true
		}
		return uids, fmt.Sprintf("*:%d", from+1), byUID, true
	}
	for i, k := range s.known {
		if k.uid == 0 || !s.m.chance(3) {
			continue
		}
		uids = append(uids, k.uid)
		name := i + 1
		if byUID {
			name = k.uid
		}
		names = append(names, strconv.Itoa(name))
	}
	return uids, strings.Join(names, ","), byUID, len(uids) > 0
}

// existing are those of uids that are still there.
func (b *mailBox) existing(uids []int) []*mailMessage {
	var out []*mailMessage
	for _, m := range b.messages {
		if slices.Contains(uids, m.uid) {
			out = append(out, m)
		}
	}
	return out
}

// verb puts UID in front where that is meant, and notes whether EXPUNGE has to wait.
func (s *modelSession) verb(name string, byUID bool) string {
	s.holds = !byUID && (name == "FETCH" || name == "STORE" || name == "SEARCH")
	if byUID {
		return "UID " + name
	}
	return name
}

// assume is what a client believes of its STORE until it is told otherwise.
func (s *modelSession) assume(uids []int, op string, flags []string) {
	for i := range s.known {
		k := &s.known[i]
		if !slices.Contains(uids, k.uid) {
			continue
		}
		kept := slices.DeleteFunc(slices.Clone(k.flags), func(f string) bool { return op == "FLAGS" || slices.Contains(flags, f) })
		if op != "-FLAGS" {
			kept = append(kept, flags...)
		}
		slices.Sort(kept)
		k.flags = kept
	}
}

// mustKnow checks that the client knows the flags of a message that it knows of.
func (s *modelSession) mustKnow(msg *mailMessage) {
	s.t.Helper()
	want := msg.visible(s.user)
	slices.Sort(want)
	for _, k := range s.known {
		if k.uid == msg.uid && !slices.Equal(k.flags, want) {
			s.m.fatalf("%s (%s) believes that UID %d has %q, and it has %q", s.user, s.rightsNow(), k.uid, k.flags, want)
		}
	}
}

// unmoved checks that a refused STORE told of nothing that it would have done.
func (s *modelSession) unmoved(before []knownMessage) {
	s.t.Helper()
	for _, msg := range s.box.messages {
		for i, k := range before {
			if k.uid == msg.uid && i < len(s.known) && s.known[i].uid == k.uid && !slices.Equal(s.known[i].flags, k.flags) {
				s.mustKnow(msg) // news of others' doing
			}
		}
	}
}

// mustShow checks the text that a FETCH gave of a message, which the client
// knew by the number that it has in before.
func (s *modelSession) mustShow(before []knownMessage, msg *mailMessage, item string) {
	s.t.Helper()
	header, body, _ := strings.Cut(msg.text, "\r\n\r\n")
	var want []string
	switch {
	case item == "BODY[]" || item == "BODY.PEEK[]":
		want = []string{"BODY[] <<" + strconv.Quote(msg.text)}
	case item == "RFC822":
		want = []string{"RFC822 <<" + strconv.Quote(msg.text)}
	case strings.Contains(item, "TEXT"):
		want = []string{"BODY[TEXT] <<" + strconv.Quote(body), "BODY[HEADER] <<" + strconv.Quote(header+"\r\n\r\n")}
	case strings.Contains(item, "SIZE"):
		want = []string{fmt.Sprintf("RFC822.SIZE %d", len(msg.text))}
	}
	for i, k := range before {
		if k.uid != msg.uid {
			continue
		}
		for _, w := range want {
			shown := func(line string) bool {
				return strings.HasPrefix(line, fmt.Sprintf("* %d FETCH (", i+1)) && strings.Contains(line, w)
			}
			if !slices.ContainsFunc(s.answer, shown) {
				s.m.fatalf("%s: FETCH %s of UID %d: want %q", s.user, item, msg.uid, w)
			}
		}
	}
}
