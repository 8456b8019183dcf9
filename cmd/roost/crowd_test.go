package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	crowdSessions = flag.Int("crowd.sessions", 200, "how many sessions TestCrowd has")
	crowdSteps    = flag.Int("crowd.steps", 15, "how many commands each session of TestCrowd sends")
	crowdSeed     = flag.Uint64("crowd.seed", 0, "the seed of TestCrowd; 0 takes one from the clock")
)

// crowdRights are what the members of the crowd may do with the owner's mailbox.
// The owner and half of the readers are on the mailbox's backend, the others are
// not.
var crowdRights = map[string]string{
	"someone1": "lrswitekxa",
	"someone5": "lrswi",
	"someone6": "lrste",
	"someone7": "lr",
	"someone8": "lrwitex",
	"someone2": "lrs",
	"someone3": "lr",
	"someone4": "lrswite",
	"someone9": "lrsti",
}

// TestCrowd has many sessions work on one mailbox at the same time, half of them
// on the other backend and with differing rights. In the end every session
// believes, from what it was told alone, what a new session is shown, and
// nothing that was acknowledged is missing or another message.
func TestCrowd(t *testing.T) {
	seed := *crowdSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-crowd.seed=%d -crowd.sessions=%d -crowd.steps=%d", seed, *crowdSessions, *crowdSteps)
	c := &crowd{addr: startRig(t, "rig").address(), texts: map[int]string{}}
	c.prepare(t)
	users := slices.Sorted(maps.Keys(crowdRights))
	sessions := make([]*crowdSession, *crowdSessions)
	for i := range sessions {
		s, err := c.join(t.Context(), users[i%len(users)], rand.New(rand.NewPCG(seed, uint64(i))))
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		sessions[i] = s
	}
	var all sync.WaitGroup
	for _, s := range sessions {
		all.Go(func() {
			if err := s.work(*crowdSteps); err != nil {
				t.Errorf("%s: %v", s.user, err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	c.compare(t, sessions)
}

// crowd is the mailbox that all work on, and what was acknowledged of it.
type crowd struct {
	addr string

	mu    sync.Mutex // guards texts
	texts map[int]string
}

// crowdSession is a client that has the mailbox selected.
type crowdSession struct {
	*lineClient
	clientView
	crowd  *crowd
	r      *rand.Rand
	user   string
	rights string
	box    string
	sent   int
}

// prepare makes the mailbox and says who may do what.
func (c *crowd) prepare(t *testing.T) {
	t.Helper()
	owner, err := c.logIn(t.Context(), "someone1")
	if err != nil {
		t.Fatal(err)
	}
	defer owner.close()
	commands := []string{"CREATE Crowd"}
	for user, rights := range crowdRights {
		commands = append(commands, fmt.Sprintf("SETACL Crowd %s %s", user, rights))
	}
	for _, command := range commands {
		if _, err := owner.ok("%s", command); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *crowd) logIn(ctx context.Context, user string) (*lineClient, error) {
	l, err := dialLines(ctx, "", c.addr)
	if err != nil {
		return nil, err
	}
	if _, err := l.ok("LOGIN %s pass", user); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// join makes a session that has the mailbox selected.
func (c *crowd) join(ctx context.Context, user string, r *rand.Rand) (*crowdSession, error) {
	l, err := c.logIn(ctx, user)
	if err != nil {
		return nil, err
	}
	s := &crowdSession{lineClient: l, crowd: c, r: r, user: user, rights: crowdRights[user], box: "shared/someone1/Crowd"}
	if user == "someone1" {
		s.box = "Crowd"
	}
	if err = s.do("OK", "SELECT %s", s.box); err != nil {
		l.close()
		return nil, err
	}
	return s, nil
}

// do sends a command, takes in what is told, and wants its answer to begin in
// the given way.
func (s *crowdSession) do(want, format string, args ...any) error {
	_, err := s.ask(want, format, args...)
	return err
}

func (s *crowdSession) ask(want, format string, args ...any) (tagged string, err error) {
	untagged, tagged, err := s.command(format, args...)
	for _, line := range untagged {
		if err == nil {
			err = s.apply(line)
		}
	}
	if err == nil && !strings.HasPrefix(tagged, want) {
		err = fmt.Errorf("answer is %q, not %q", tagged, want)
	}
	if err != nil {
		err = fmt.Errorf("%.80q: %w", fmt.Sprintf(format, args...), err)
	}
	return tagged, err
}

// work sends random commands.
func (s *crowdSession) work(steps int) error {
	commands := []func(*crowdSession) error{
		(*crowdSession).append, (*crowdSession).append, (*crowdSession).append,
		(*crowdSession).store, (*crowdSession).store, (*crowdSession).store, (*crowdSession).expunge,
		(*crowdSession).copy, (*crowdSession).fetch, (*crowdSession).search, (*crowdSession).noop, (*crowdSession).idle,
	}
	for range steps {
		if err := commands[s.r.IntN(len(commands))](s); err != nil {
			return err
		}
		if err := s.learn(); err != nil {
			return err
		}
	}
	return nil
}

// learn asks for the UIDs that the session was not told yet. Meanwhile others
// append more.
func (s *crowdSession) learn() error {
	for {
		from := s.firstUnknown()
		if from == 0 {
			return nil
		}
		if err := s.do("OK", "UID FETCH %d:* (FLAGS)", from); err != nil {
			return err
		}
	}
}

// allowed is the answer to a command that needs those rights.
func (s *crowdSession) allowed(need string) string {
	if mayAll(s.rights, need) {
		return "OK"
	}
	return "NO [NOPERM]"
}

// some names a few messages by UID, and by sequence number where that is asked for.
func (s *crowdSession) some(byUID bool) string {
	if len(s.known) == 0 {
		return ""
	}
	from := s.r.IntN(len(s.known))
	to := min(from+s.r.IntN(4), len(s.known)-1)
	if byUID {
		return fmt.Sprintf("%d:%d", s.known[from].uid, s.known[to].uid)
	}
	return fmt.Sprintf("%d:%d", from+1, to+1)
}

var (
	appendUIDCode = regexp.MustCompile(`^OK \[APPENDUID \d+ (\d+)\]`)
	copyUIDCode   = regexp.MustCompile(`^OK \[COPYUID \d+ (\S+) (\S+)\]`)
)

func (s *crowdSession) append() error {
	s.sent++
	text := fmt.Sprintf("Subject: %s %p %d\r\n\r\nbody\r\n", s.user, s, s.sent)
	tagged, err := s.ask(s.allowed("i"), "APPEND %s {%d+}\r\n%s", s.box, len(text), text)
	if p := appendUIDCode.FindStringSubmatch(tagged); err == nil && p != nil {
		err = s.crowd.acknowledge(p[1], text)
	}
	return err
}

// acknowledge notes what the message with that UID is.
func (c *crowd) acknowledge(uid, text string) error {
	n, err := strconv.Atoi(uid)
	c.mu.Lock()
	defer c.mu.Unlock()
	if had, twice := c.texts[n]; twice {
		return fmt.Errorf("UID %d was given to %q and %q", n, had, text)
	}
	c.texts[n] = text
	return err
}

// copy copies one message within the mailbox. It may be gone.
func (s *crowdSession) copy() error {
	if len(s.known) == 0 {
		return nil
	}
	uid := s.known[s.r.IntN(len(s.known))].uid
	tagged, err := s.ask("", "UID COPY %d %s", uid, s.box)
	switch p := copyUIDCode.FindStringSubmatch(tagged); {
	case err != nil:
		return err
	case p != nil:
		if !mayAll(s.rights, "i") {
			return fmt.Errorf("COPY without i: %q", tagged)
		}
		return s.crowd.copied(uid, p[2])
	case !mayAll(s.rights, "i") && strings.HasPrefix(tagged, "NO [NOPERM]"),
		strings.HasPrefix(tagged, "OK"), strings.HasPrefix(tagged, "NO [EXPUNGEISSUED]"):
		return nil
	}
	return fmt.Errorf("COPY: %q", tagged)
}

// copied acknowledges that a UID has the text of another. Who appended that may
// not have heard of it yet.
func (c *crowd) copied(from int, to string) error {
	c.mu.Lock()
	text, known := c.texts[from]
	c.mu.Unlock()
	if !known {
		return nil
	}
	return c.acknowledge(to, text)
}

func (s *crowdSession) store() error {
	byUID := s.r.IntN(2) == 0
	set := s.some(byUID)
	if set == "" {
		return nil
	}
	flag := []string{`\Seen`, `\Flagged`, `\Deleted`, `\Answered`, "$Later"}[s.r.IntN(5)]
	op := []string{"+FLAGS", "-FLAGS"}[s.r.IntN(2)]
	verb := "STORE"
	if byUID {
		verb = "UID STORE"
	}
	s.holds = !byUID
	err := s.do(s.allowed(rightFor(flag)), "%s %s %s (%s)", verb, set, op, flag)
	s.holds = false
	return err
}

func (s *crowdSession) expunge() error {
	set := s.some(true)
	if set == "" || s.r.IntN(2) == 0 {
		return s.do(s.allowed("e"), "EXPUNGE")
	}
	return s.do(s.allowed("e"), "UID EXPUNGE %s", set)
}

func (s *crowdSession) fetch() error {
	set := s.some(false)
	if set == "" {
		return nil
	}
	s.holds = true
	err := s.do("OK", "FETCH %s (UID FLAGS %s)", set, []string{"RFC822.SIZE", "BODY[]", "ENVELOPE"}[s.r.IntN(3)])
	s.holds = false
	return err
}

func (s *crowdSession) search() error {
	s.holds = true
	err := s.do("OK", "SEARCH %s", []string{"UNSEEN", "FLAGGED", "NOT DELETED", "SUBJECT someone2"}[s.r.IntN(4)])
	s.holds = false
	return err
}

func (s *crowdSession) noop() error { return s.do("OK", "NOOP") }

// idle listens for a moment.
func (s *crowdSession) idle() error {
	s.tag++
	if _, err := fmt.Fprintf(s.conn, "k%d IDLE\r\n", s.tag); err != nil {
		return err
	}
	line, err := s.line()
	for err == nil && !strings.HasPrefix(line, "+") {
		if err = s.apply(line); err == nil {
			line, err = s.line()
		}
	}
	if err != nil {
		return err
	}
	time.Sleep(time.Duration(s.r.IntN(20)) * time.Millisecond) // a client that idles, not one that waits for something
	if _, err := fmt.Fprint(s.conn, "DONE\r\n"); err != nil {
		return err
	}
	for {
		line, err := s.line()
		if err != nil {
			return err
		}
		if rest, ok := strings.CutPrefix(line, fmt.Sprintf("k%d ", s.tag)); ok {
			if !strings.HasPrefix(rest, "OK") {
				return fmt.Errorf("IDLE: %q", rest)
			}
			return nil
		}
		if err := s.apply(line); err != nil {
			return err
		}
	}
}

// compare brings every session up to date and compares what it believes with
// what a new one of the same user is shown, and users with each other.
func (c *crowd) compare(t *testing.T, sessions []*crowdSession) {
	t.Helper()
	truth := map[string][]knownMessage{}
	for user := range crowdRights {
		s, err := c.join(t.Context(), user, nil)
		if err == nil {
			defer s.close()
			err = s.learn()
		}
		if err != nil {
			t.Fatal(err)
		}
		truth[user] = s.known
	}
	for _, s := range sessions {
		if err := s.noop(); err == nil {
			err = s.learn()
			if err != nil {
				t.Fatalf("%s: %v", s.user, err)
			}
		}
		if diff := differ(s.known, truth[s.user]); diff != "" {
			t.Errorf("a session of %s believes otherwise: %s", s.user, diff)
		}
	}
	owners := withoutSeen(truth["someone1"])
	for user, known := range truth {
		if diff := differ(withoutSeen(known), owners); diff != "" {
			t.Errorf("%s sees otherwise than the owner: %s", user, diff)
		}
	}
	c.checkTexts(t, truth["someone1"])
	t.Logf("%d messages were acknowledged, %d are left", len(c.texts), len(owners))
}

// checkTexts looks whether each message is the one that was acknowledged.
func (c *crowd) checkTexts(t *testing.T, messages []knownMessage) {
	t.Helper()
	s, err := c.join(t.Context(), "someone1", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for _, m := range messages {
		want, known := c.texts[m.uid]
		if !known {
			continue // appended by who may not read
		}
		lines, err := s.ok("UID FETCH %d (BODY.PEEK[])", m.uid)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, want) }) {
			t.Errorf("UID %d is not %q but %q", m.uid, want, lines)
		}
	}
}

// differ tells of the first message that two views differ in.
func differ(have, want []knownMessage) string {
	for i := range max(len(have), len(want)) {
		switch {
		case i >= len(have):
			return fmt.Sprintf("UID %d is missing (%d messages, not %d)", want[i].uid, len(have), len(want))
		case i >= len(want):
			return fmt.Sprintf("UID %d is too much (%d messages, not %d)", have[i].uid, len(have), len(want))
		case have[i].uid != want[i].uid || !slices.Equal(have[i].flags, want[i].flags):
			return fmt.Sprintf("message %d is %v, not %v", i+1, have[i], want[i])
		}
	}
	return ""
}

func withoutSeen(messages []knownMessage) []knownMessage {
	out := make([]knownMessage, len(messages))
	for i, m := range messages {
		out[i] = knownMessage{m.uid, slices.DeleteFunc(slices.Clone(m.flags), func(f string) bool { return f == `\Seen` })}
	}
	return out
}
