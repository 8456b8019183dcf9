package main

import (
	"context"
	"errors"
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
	crowdSteps    = flag.Int("crowd.steps", 10, "how many commands each session of TestCrowd sends")
	crowdSeed     = flag.Uint64("crowd.seed", 0, "the seed of TestCrowd; 0 takes one from the clock")
)

// The crowd's mailbox, and another one on the other backend, whose messages all
// may read, move here and take back.
const (
	crowdOwner  = "someone1"
	atticOwner  = "someone2"
	atticRights = "lrswite"
)

func crowdOf(user string) string { return placeOf("Crowd", crowdOwner, user) }
func atticOf(user string) string { return placeOf("Attic", atticOwner, user) }

// placeOf is what a user calls an owner's mailbox.
func placeOf(box, owner, user string) string {
	if user == owner {
		return box
	}
	return "shared/" + owner + "/" + box
}

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
// on the other backend and with differing rights. A third has QRESYNC, goes away
// and comes back; some move messages to another shared mailbox and back. In the end
// every session
// believes, from what it was told alone, what a new session is shown, and
// nothing that was acknowledged is missing or another message.
func TestCrowd(t *testing.T) {
	if testing.Short() {
		*crowdSessions = min(*crowdSessions, 60)
	}
	seed := *crowdSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-crowd.seed=%d -crowd.sessions=%d -crowd.steps=%d", seed, *crowdSessions, *crowdSteps)
	c := &crowd{addr: startRig(t, "rig").address(), texts: map[crowdUID]string{}}
	c.prepare(t)
	users := slices.Sorted(maps.Keys(crowdRights))
	sessions := make([]*crowdSession, *crowdSessions)
	for i := range sessions {
		vanishes := i/len(users)%3 == 0
		s, err := c.join(t.Context(), users[i%len(users)], vanishes, rand.New(rand.NewPCG(seed, uint64(i))))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { s.close() }()
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
	texts map[crowdUID]string
}

// crowdUID is a message. attic says that it is in the other mailbox.
type crowdUID struct {
	attic bool
	uid   int
}

func inAttic(box string) bool { return strings.HasSuffix(box, "Attic") }

// crowdSession is a client that has the mailbox selected.
type crowdSession struct {
	*lineClient
	clientView
	ctx      context.Context
	crowd    *crowd
	r        *rand.Rand
	user     string
	rights   string
	box      string
	validity string
	cache    map[string]*crowdCache
	sent     int
}

// prepare makes the mailbox and says who may do what.
func (c *crowd) prepare(t *testing.T) {
	t.Helper()
	crowd, attic := []string{"CREATE Crowd"}, []string{"CREATE Attic"}
	for user, rights := range crowdRights {
		crowd = append(crowd, fmt.Sprintf("SETACL Crowd %s %s", user, rights))
		if user != atticOwner {
			attic = append(attic, fmt.Sprintf("SETACL Attic %s %s", user, atticRights))
		}
	}
	for owner, commands := range map[string][]string{crowdOwner: crowd, atticOwner: attic} {
		l, err := c.logIn(t.Context(), owner)
		if err != nil {
			t.Fatal(err)
		}
		defer l.close()
		for _, command := range commands {
			if _, err := l.ok("%s", command); err != nil {
				t.Fatal(err)
			}
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
func (c *crowd) join(ctx context.Context, user string, vanishes bool, r *rand.Rand) (*crowdSession, error) {
	l, err := c.logIn(ctx, user)
	if err != nil {
		return nil, err
	}
	s := &crowdSession{lineClient: l, ctx: ctx, crowd: c, r: r, user: user, rights: crowdRights[user], cache: map[string]*crowdCache{}}
	s.vanishes = vanishes
	if err = s.enable(); err == nil {
		err = s.enter(crowdOf(user))
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return s, nil
}

// do sends a command, takes in what is told, and wants its answer to begin in
// the given way.
func (s *crowdSession) do(want, format string, args ...any) error {
	_, _, err := s.exchange(want, format, args...)
	return err
}

func (s *crowdSession) exchange(want, format string, args ...any) (untagged []string, tagged string, err error) {
	untagged, tagged, err = s.command(format, args...)
	for _, line := range untagged {
		if err == nil {
			err = s.apply(line)
		}
	}
	s.past.toldHighest(tagged)
	s.past.settle()
	if err == nil && !strings.HasPrefix(tagged, want) {
		err = fmt.Errorf("answer is %q, not %q", tagged, want)
	}
	if err != nil {
		err = fmt.Errorf("%.80q: %w", fmt.Sprintf(format, args...), err)
	}
	return untagged, tagged, err
}

// work sends random commands.
func (s *crowdSession) work(steps int) error {
	commands := []func(*crowdSession) error{
		(*crowdSession).append, (*crowdSession).append, (*crowdSession).append,
		(*crowdSession).store, (*crowdSession).store, (*crowdSession).store, (*crowdSession).expunge,
		(*crowdSession).copy, (*crowdSession).fetch, (*crowdSession).search, (*crowdSession).noop, (*crowdSession).idle,
		(*crowdSession).moveAway, (*crowdSession).visit,
	}
	if s.vanishes {
		commands = append(commands, (*crowdSession).resume, (*crowdSession).resume, (*crowdSession).refetch)
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
		items := "FLAGS"
		if s.vanishes {
			items = "FLAGS MODSEQ"
		}
		if err := s.do("OK", "UID FETCH %d:* (%s)", from, items); err != nil {
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
	_, tagged, err := s.exchange(s.allowed("i"), "APPEND %s {%d+}\r\n%s", s.box, len(text), text)
	if p := appendUIDCode.FindStringSubmatch(tagged); err == nil && p != nil {
		err = s.crowd.acknowledge(s.box, p[1], text)
	}
	return err
}

// acknowledge notes what the message with that UID is.
func (c *crowd) acknowledge(box, uid, text string) error {
	number, err := strconv.Atoi(uid)
	n := crowdUID{inAttic(box), number}
	c.mu.Lock()
	defer c.mu.Unlock()
	if had, twice := c.texts[n]; twice {
		return fmt.Errorf("UID %v was given to %q and %q", n, had, text)
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
	_, tagged, err := s.exchange("", "UID COPY %d %s", uid, s.box)
	switch p := copyUIDCode.FindStringSubmatch(tagged); {
	case err != nil:
		return err
	case p != nil:
		if !mayAll(s.rights, "i") {
			return fmt.Errorf("COPY without i: %q", tagged)
		}
		return s.crowd.copied(s.box, uid, s.box, p[2])
	case !mayAll(s.rights, "i") && strings.HasPrefix(tagged, "NO [NOPERM]"),
		strings.HasPrefix(tagged, "OK"), strings.HasPrefix(tagged, "NO [EXPUNGEISSUED]"):
		return nil
	}
	return fmt.Errorf("COPY: %q", tagged)
}

// copied acknowledges that a UID has the text of another. Who appended that may
// not have heard of it yet.
func (c *crowd) copied(box string, from int, dest, to string) error {
	c.mu.Lock()
	text, known := c.texts[crowdUID{inAttic(box), from}]
	c.mu.Unlock()
	if !known {
		return nil
	}
	return c.acknowledge(dest, to, text)
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
	s.holds, s.fetches = true, true
	err := s.do("OK", "FETCH %s (UID FLAGS %s)", set, []string{"RFC822.SIZE", "BODY[]", "ENVELOPE"}[s.r.IntN(3)])
	s.holds, s.fetches = false, false
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
			s.past.settle()
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
	truth, attics := c.truth(t, crowdOf), c.truth(t, atticOf)
	for _, s := range sessions {
		err := s.noop()
		if err == nil {
			err = s.learn()
		}
		if err == nil {
			err = s.audit()
		}
		if err != nil {
			t.Fatalf("%s: %v", s.user, err)
		}
		if diff := differ(s.known, truth[s.user]); diff != "" {
			t.Errorf("a session of %s (QRESYNC %t) believes otherwise: %s", s.user, s.vanishes, diff)
		}
		if s.vanishes && s.cache[atticOf(s.user)] != nil {
			if err := errors.Join(s.enter(atticOf(s.user)), s.learn()); err != nil {
				t.Fatalf("%s: %v", s.user, err)
			}
			if diff := differ(s.known, attics[s.user]); diff != "" {
				t.Errorf("a session of %s believes otherwise of the other mailbox: %s", s.user, diff)
			}
		}
	}
	owners := withoutSeen(truth[crowdOwner])
	for user, known := range truth {
		if diff := differ(withoutSeen(known), owners); diff != "" {
			t.Errorf("%s sees otherwise than the owner: %s", user, diff)
		}
	}
	c.checkTexts(t, crowdOwner, crowdOf(crowdOwner), truth[crowdOwner])
	c.checkTexts(t, atticOwner, atticOf(atticOwner), attics[atticOwner])
	t.Logf("%d messages were acknowledged, %d are left", len(c.texts), len(owners)+len(attics[atticOwner]))
}

// truth is what new sessions are shown, by user.
func (c *crowd) truth(t *testing.T, place func(user string) string) map[string][]knownMessage {
	t.Helper()
	out := map[string][]knownMessage{}
	for user := range crowdRights {
		s, err := c.join(t.Context(), user, false, nil)
		if err == nil {
			defer s.close()
			err = errors.Join(s.enter(place(user)), s.learn())
		}
		if err != nil {
			t.Fatal(err)
		}
		out[user] = s.known
	}
	return out
}

// checkTexts looks whether each message is the one that was acknowledged.
func (c *crowd) checkTexts(t *testing.T, owner, box string, messages []knownMessage) {
	t.Helper()
	s, err := c.join(t.Context(), owner, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.enter(box); err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		want, known := c.texts[crowdUID{inAttic(box), m.uid}]
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
