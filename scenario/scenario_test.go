package scenario

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/imap"
)

// simple is a world of one server in memory, which can be made to lie.
type simple struct {
	begun time.Time
	lie   string

	mu     sync.Mutex // guards what follows
	mail   map[string]map[string][]Message
	grants map[string][]string // readers by user and mailbox
	next   uint32
	calls  int
	killed bool
}

func newSimple(lie string) *simple {
	return &simple{begun: time.Now(), lie: lie, mail: map[string]map[string][]Message{}, grants: map[string][]string{}}
}

func (w *simple) Now() time.Duration { return time.Since(w.begun) }

func (w *simple) Sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (w *simple) Do(_ context.Context, s Step) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.killed = s.Verb == "kill"
	return nil
}

func (w *simple) Can(string) bool { return true }

func (w *simple) Cluster() (cluster.Coordinator, *cluster.View) { return nil, nil }

func (w *simple) Drift(context.Context) (string, error) {
	if w.lie == "index lost" {
		return "somebody's key is missing", nil
	}
	return "", nil
}

func (w *simple) Open(_ context.Context, user string) (Session, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.killed {
		return nil, errors.New("connection refused")
	}
	if w.mail[user] == nil {
		w.mail[user] = map[string][]Message{}
	}
	return &simpleSession{w, user}, nil
}

type simpleSession struct {
	*simple
	user string
}

// begin counts a call, and says whether it is one that lies.
func (s *simpleSession) begin() (lies bool, err error) {
	s.calls++
	switch {
	case s.killed:
		return false, errors.New("connection lost")
	case s.calls%7 == 0:
		return false, imap.Errorf(imap.CodeUnavailable, "not now")
	}
	return s.calls > 20 && s.calls%5 == 0, nil
}

func (s *simpleSession) add(mailbox string, m Message) Place {
	if s.lie != "same UID" || s.next == 0 || s.calls%5 != 0 {
		s.next++
	}
	m.UID = s.next
	s.mail[s.user][mailbox] = append(s.mail[s.user][mailbox], m)
	return Place{Validity: 1, UID: m.UID}
}

func (s *simpleSession) take(mailbox string, uid uint32) (Message, error) {
	box := s.mail[s.user][mailbox]
	for i, m := range box {
		if m.UID == uid {
			s.mail[s.user][mailbox] = append(box[:i:i], box[i+1:]...)
			return m, nil
		}
	}
	return Message{}, imap.Errorf(imap.CodeNonExistent, "no such message")
}

func (s *simpleSession) Append(_ context.Context, mailbox, id string) (Place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lies, err := s.begin()
	switch {
	case err != nil && s.lie == "done though refused":
		s.add(mailbox, Message{ID: id})
		return Place{}, err
	case err != nil:
		return Place{}, err
	case lies && s.lie == "lost":
		s.next++
		return Place{Validity: 1, UID: s.next}, nil
	}
	return s.add(mailbox, Message{ID: id}), nil
}

func (s *simpleSession) Flag(_ context.Context, mailbox string, uid uint32, on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	lies, err := s.begin()
	if err != nil || lies && s.lie == "flag lost" {
		return err
	}
	for i := range s.mail[s.user][mailbox] {
		if m := &s.mail[s.user][mailbox][i]; m.UID == uid {
			m.Flagged = on
		}
	}
	return nil
}

func (s *simpleSession) Expunge(_ context.Context, mailbox string, uid uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	lies, err := s.begin()
	if err != nil || lies && s.lie == "not expunged" {
		return err
	}
	_, err = s.take(mailbox, uid)
	return err
}

func (s *simpleSession) Copy(_ context.Context, from string, uid uint32, to string) (Place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.begin(); err != nil {
		return Place{}, err
	}
	for _, m := range s.mail[s.user][from] {
		if m.UID == uid {
			return s.add(to, m), nil
		}
	}
	return Place{}, imap.Errorf(imap.CodeNonExistent, "no such message")
}

func (s *simpleSession) Move(_ context.Context, from string, uid uint32, to string) (Place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.begin(); err != nil {
		return Place{}, err
	}
	m, err := s.take(from, uid)
	if err != nil {
		return Place{}, err
	}
	return s.add(to, m), nil
}

func (s *simpleSession) Messages(_ context.Context, mailbox string) (uint32, []Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.killed {
		return 0, nil, errors.New("connection lost")
	}
	return 1, append([]Message(nil), s.mail[s.user][mailbox]...), nil
}

func (s *simpleSession) Grant(_ context.Context, mailbox, reader string, on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	lies, err := s.begin()
	if err != nil && s.lie != "granted though refused" || lies && s.lie == "grant lost" {
		return err
	}
	at := s.user + " " + mailbox
	readers := slices.DeleteFunc(slices.Clone(s.grants[at]), func(r string) bool { return r == reader })
	if on {
		readers = append(readers, reader)
	}
	s.grants[at] = readers
	return err
}

func (s *simpleSession) Granted(_ context.Context, mailbox string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grants[s.user+" "+mailbox], nil
}

func (s *simpleSession) Close() error { return nil }

const fewFaults = `
backends b1
directors d1
users 3
start all
load on
for 5s
kill b1
for 1s
start b1
served within 2s
for 5s
check
for 5s
`

// An honest server passes, and each way of lying is found.
func TestLiesAreFound(t *testing.T) {
	for lie, want := range map[string]string{
		"":                    "",
		"lost":                "acknowledged was",
		"flag lost":           "acknowledged was",
		"not expunged":        "acknowledged was",
		"same UID":            "was given after",
		"done though refused": "acknowledged was",

		"grant lost":             "acknowledged was",
		"granted though refused": "shared with",
		"index lost":             "somebody's key is missing",
	} {
		t.Run(lie, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := Parse("few", fewFaults)
				if err != nil {
					t.Fatal(err)
				}
				r := Runner{World: newSimple(lie), Seed: 1, Logf: t.Logf}
				err = r.Run(t.Context(), s)
				switch {
				case want == "" && (err != nil || r.Acknowledged() < 100):
					t.Errorf("%d acknowledged, %v", r.Acknowledged(), err)
				case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
					t.Errorf("got %v", err)
				}
				if r.Worst() < time.Second {
					t.Errorf("the longest without an OK was %s", r.Worst())
				}
			})
		})
	}
}

// Whoever is not served in time is named.
func TestServedWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := Parse("dead", "backends b1\nusers 2\nload on\nkill b1\nserved within 2s\n")
		if err != nil {
			t.Fatal(err)
		}
		r := Runner{World: newSimple("")}
		if err := r.Run(t.Context(), s); err == nil || !strings.Contains(err.Error(), "dead:5: served within 2s: 2 users") {
			t.Errorf("got %v", err)
		}
	})
}

// A wait counts from the first question until an OK, whatever was answered between, and while
// it lasts; those of whom nothing was expected are told apart.
func TestWaits(t *testing.T) {
	w := newWaits()
	w.asks("a", 1*time.Second)
	w.answered("a", 2*time.Second, false)
	w.measure(map[string]bool{"a": true})
	w.asks("a", 3*time.Second)
	w.asks("b", 3*time.Second)
	if got := w.worst(9 * time.Second); got.took != 8*time.Second || got.user != "a" {
		t.Errorf("while a waits: %s", got)
	}
	w.answered("a", 10*time.Second, true)
	w.answered("b", 4*time.Second, false)
	if got, failed := w.result(true, 10*time.Second); got.took != 9*time.Second || failed != nil {
		t.Errorf("of those measured: %s, %v", got, failed)
	}
	if got, failed := w.result(false, 5*time.Second); got.took != 2*time.Second || len(failed) != 1 {
		t.Errorf("of the others: %s, %v", got, failed)
	}
	w.gives("b", 6*time.Second)
	if got, _ := w.result(false, 60*time.Second); got.took != 3*time.Second {
		t.Errorf("when b asks no more: %s", got)
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"explode b1":                       "there is no step explode",
		"kill":                             "kill what?",
		"kill b2":                          "there is no node b2",
		"settled":                          "within DURATION is missing",
		"settled within soon":              "invalid duration",
		"for two":                          "invalid duration",
		"users 0":                          "1 to",
		"users":                            "users N",
		"cut b1 from":                      "takes 3 words, not 2",
		"backends b1\n\n# all\nmove user1": "x:4",
	} {
		if _, err := Parse("x", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(fewFaults)
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := Parse("x", text); err == nil {
			s.Verbs()
		}
	})
}

// A message that may have moved next to a copy of itself is not taken for another.
func TestMovedToItsCopy(t *testing.T) {
	l := newLedger("u")
	l.answered("m", change{kind: appending, mailbox: "Other"}, Place{1, 1}, acknowledged)
	l.answered("m", change{kind: copying, mailbox: "Other", uid: 1, to: "INBOX"}, Place{1, 2}, acknowledged)
	l.answered("m", change{kind: moving, mailbox: "Other", uid: 1, to: "INBOX"}, Place{}, unknown)
	l.see(map[string][]Message{"INBOX": {{ID: "m", UID: 2}, {ID: "m", UID: 3}}, "Other": nil})
	if len(l.problems) > 0 {
		t.Error(l.problems)
	}
	l.see(map[string][]Message{"INBOX": {{ID: "m", UID: 3}, {ID: "m", UID: 4}}, "Other": nil})
	if len(l.problems) != 1 {
		t.Errorf("%q", l.problems)
	}
}

// lateGrants is a session whose grants get no answer.
type lateGrants struct {
	Session
	given int
}

func (s *lateGrants) Grant(context.Context, string, string, bool) error {
	s.given++
	return errors.New("connection lost")
}

// What may arrive yet is not changed again: it would undo what was acknowledged.
func TestGrantWithoutAnswer(t *testing.T) {
	w := newSimple("")
	honest, err := w.Open(t.Context(), "user1")
	if err != nil {
		t.Fatal(err)
	}
	s := &lateGrants{Session: honest}
	c := &client{world: w, rand: rand.New(rand.NewPCG(1, 0)), ledger: newLedger("user1"), others: []string{"user2"}, session: s}
	for range 50 * oneGrant {
		_, _ = c.change(t.Context())
	}
	if s.given != len(Mailboxes) {
		t.Errorf("%d grants for %d mailboxes", s.given, len(Mailboxes))
	}
}
