package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// crowdCache is what a client keeps of a mailbox while it has not selected it.
type crowdCache struct {
	past     *mailboxPast
	validity string
	known    []knownMessage
}

var (
	validityCode = regexp.MustCompile(`^\* OK \[UIDVALIDITY (\d+)\]`)
	movedCode    = regexp.MustCompile(`^\* OK \[COPYUID \d+ (\S+) (\S+)\]`)
)

// leave puts the selected mailbox into the cache. What it was not told the UIDs
// of, the client forgets.
func (s *crowdSession) leave() {
	if s.past == nil {
		return
	}
	s.past.settle()
	known := slices.DeleteFunc(s.known, func(k knownMessage) bool { return k.uid == 0 })
	s.cache[s.box] = &crowdCache{past: s.past, validity: s.validity, known: known}
	s.known, s.past = nil, nil
}

// enter selects a mailbox. With QRESYNC it brings what is cached up to date.
func (s *crowdSession) enter(box string) error {
	cached, param := s.cache[box], ""
	resume := s.vanishes && cached != nil
	if s.past != nil && s.box == box {
		s.leave() // nothing is told before CLOSED that is not told again
		cached = s.cache[box]
		resume = s.vanishes
	}
	if resume {
		param = fmt.Sprintf(" (QRESYNC (%s %d%s))", cached.validity, cached.past.highest, s.knownUIDs(cached))
	}
	untagged, tagged, err := s.command("SELECT %s%s", box, param)
	if err != nil || !strings.HasPrefix(tagged, "OK") {
		return fmt.Errorf("SELECT %s%s: %q %w", box, param, tagged, err)
	}
	closed := 1 + slices.IndexFunc(untagged, func(l string) bool { return strings.HasPrefix(l, "* OK [CLOSED]") })
	for _, line := range untagged[:closed] {
		if s.past != nil {
			err = firstOf(err, s.apply(line))
		}
	}
	s.leave()
	s.box, s.past = box, newMailboxPast()
	if cached != nil {
		s.past = cached.past
	}
	if resume {
		s.known = slices.Clone(cached.known)
	}
	lines := untagged[closed:]
	slices.SortStableFunc(lines, func(a, b string) int { return vanishedFirst(a) - vanishedFirst(b) })
	for _, line := range lines {
		err = firstOf(err, s.apply(line))
		if m := validityCode.FindStringSubmatch(line); m != nil {
			s.validity = m[1]
		}
	}
	s.past.settle()
	if err != nil {
		return fmt.Errorf("SELECT %s%s: %w", box, param, err)
	}
	return nil
}

// vanishedFirst sorts VANISHED (EARLIER), which is about what is cached, ahead of
// EXISTS, which counts what is left.
func vanishedFirst(line string) int {
	if strings.HasPrefix(line, "* VANISHED (EARLIER)") {
		return 0
	}
	return 1
}

func firstOf(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// knownUIDs is the third argument of QRESYNC, at times.
func (s *crowdSession) knownUIDs(c *crowdCache) string {
	if len(c.known) == 0 || s.r.IntN(2) == 0 {
		return ""
	}
	var uids []string
	for _, k := range c.known {
		uids = append(uids, strconv.Itoa(k.uid))
	}
	return " " + strings.Join(uids, ",")
}

// resume goes away and comes back, on the same connection or on another.
func (s *crowdSession) resume() error {
	box := s.box
	switch s.r.IntN(3) {
	case 0:
		if err := s.do("OK", "UNSELECT"); err != nil {
			return err
		}
		s.leave()
	case 1:
		s.leave()
		s.close()
		l, err := s.crowd.logIn(s.ctx, s.user)
		if err != nil {
			return err
		}
		s.lineClient = l
		if err := s.enable(); err != nil {
			return err
		}
	}
	return s.enter(box)
}

// enable turns QRESYNC on where the session shall have it.
func (s *crowdSession) enable() error {
	if !s.vanishes {
		return nil
	}
	_, err := s.ok("ENABLE QRESYNC CONDSTORE")
	return err
}

// move moves one message to the other mailbox. It may be gone.
func (s *crowdSession) move(dest string, allowed bool) error {
	if len(s.known) == 0 {
		return nil
	}
	uid := s.known[s.r.IntN(len(s.known))].uid
	untagged, tagged, err := s.exchange("", "UID MOVE %d %s", uid, dest)
	for _, line := range untagged {
		if p := movedCode.FindStringSubmatch(line); err == nil && p != nil {
			err = s.crowd.copied(s.box, uid, dest, p[2])
		}
	}
	switch {
	case err != nil:
		return err
	case allowed && strings.HasPrefix(tagged, "OK"), !allowed && strings.HasPrefix(tagged, "NO [NOPERM]"),
		strings.HasPrefix(tagged, "NO [EXPUNGEISSUED]"):
		return nil
	}
	return fmt.Errorf("MOVE to %s: %q", dest, tagged)
}

func (s *crowdSession) moveAway() error {
	return s.move(atticOf(s.user), mayAll(s.rights, "te"))
}

// visit brings a message back from the other mailbox.
func (s *crowdSession) visit() error {
	home := s.box
	if err := s.enter(atticOf(s.user)); err != nil {
		return err
	}
	if err := s.learn(); err != nil {
		return err
	}
	if err := s.move(home, mayAll(s.rights, "i")); err != nil {
		return err
	}
	if err := s.learn(); err != nil {
		return err
	}
	return s.enter(home)
}

func (s *crowdSession) refetch() error { return s.do("OK", "UID FETCH 1:* (FLAGS MODSEQ)") }

// audit finds changes that the session was not told of, when nobody changes
// anything any more.
func (s *crowdSession) audit() error {
	if !s.vanishes {
		return nil
	}
	before := maps.Clone(s.past.told)
	maps.DeleteFunc(before, func(uid int, _ toldFlags) bool { return s.past.gone[uid] })
	if err := s.refetch(); err != nil {
		return err
	}
	if missed := s.past.missed(before); missed != "" {
		return fmt.Errorf("not told: %s", missed)
	}
	return nil
}
