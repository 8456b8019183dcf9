package main

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	modelSteps = flag.Int("model.steps", 1000, "how many commands TestModel sends")
	modelSeed  = flag.Uint64("model.seed", 1, "the seed of TestModel; 0 takes one from the clock")
	modelTrace = flag.Int("model.trace", 60, "how many commands TestModel shows when it fails")
)

// TestModel has three users on two backends send random commands to the
// director, about their own and each other's mail. A model of maps and slices
// says what each answer has to be and what each user has to see afterwards. What
// a session is told by untagged responses is replayed as a client would, and
// has to be the truth after each NOOP.
func TestModel(t *testing.T) {
	seed := *modelSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-model.seed=%d -model.steps=%d", seed, *modelSteps)
	m := newModel(t, seed)
	for m.step = 1; m.step <= *modelSteps; m.step++ {
		m.any()
	}
	for _, s := range m.sessions {
		m.noop(s)
	}
	for _, b := range m.boxes {
		m.verify(b, m.users...)
	}
}

// model is the cluster, the truth, and the sessions.
type model struct {
	t        *testing.T
	r        *rand.Rand
	step     int
	users    []string
	boxes    []*mailBox
	sessions []*modelSession
	probes   map[string]*imapConn
	trace    []string
}

func newModel(t *testing.T, seed uint64) *model {
	t.Helper()
	m := &model{t: t, r: rand.New(rand.NewPCG(seed, 0)), users: []string{"someone1", "someone2", "someone5"}, probes: map[string]*imapConn{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last commands:\n%s", strings.Join(m.trace[max(0, len(m.trace)-*modelTrace):], "\n"))
		}
	})
	cluster := startRig(t, "rig")
	dial := func(user string) *imapConn {
		c := dialIMAP(t, cluster.address())
		t.Cleanup(c.close)
		c.where = func() string { return fmt.Sprintf("step %d: %s", m.step, user) }
		c.command("LOGIN " + user + " pass")
		c.expect("OK")
		return c
	}
	for _, user := range m.users {
		m.probes[user] = dial(user)
	}
	for _, user := range []string{"someone1", "someone1", "someone2", "someone2", "someone5"} {
		m.sessions = append(m.sessions, &modelSession{imapConn: dial(user), m: m, user: user})
	}
	for _, name := range []string{"someone1/Work", "someone1/Play", "someone5/Other", "someone1/INBOX", "someone2/INBOX", "someone5/INBOX"} {
		owner, name, _ := strings.Cut(name, "/")
		m.create(owner, name)
	}
	return m
}

func (m *model) create(owner, name string) {
	m.t.Helper()
	c := m.probes[owner]
	if name != "INBOX" {
		c.command("CREATE " + name)
		c.expect("OK")
	}
	c.command("STATUS " + name + " (UIDVALIDITY)")
	b := &mailBox{owner: owner, name: name, next: 1, acl: map[string]string{}}
	b.validity = regexp.MustCompile(`\d+`).FindString(strings.TrimPrefix(c.answer[0], "* STATUS "+name))
	m.boxes = append(m.boxes, b)
}

func (m *model) fatalf(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("step %d: %s", m.step, fmt.Sprintf(format, args...))
}

// chance is true once in n times.
func (m *model) chance(n int) bool { return m.r.IntN(n) == 0 }

// someBox prefers the mailboxes that are shared.
func (m *model) someBox() *mailBox {
	if m.chance(4) {
		return m.boxes[m.r.IntN(len(m.boxes))]
	}
	return m.boxes[m.r.IntN(3)]
}

func (m *model) someFlags() []string {
	out := []string{}
	for range m.r.IntN(4) {
		if f := modelFlags[m.r.IntN(len(modelFlags))]; !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	return out
}

// any sends one command of any session.
func (m *model) any() {
	m.t.Helper()
	for _, b := range m.boxes {
		if len(b.messages) > 40 {
			m.empty(b)
		}
	}
	s := m.sessions[m.r.IntN(len(m.sessions))]
	if s.idling {
		m.done(s)
		return
	}
	free := []func(*model, *modelSession){
		(*model).selectBox, (*model).selectBox, (*model).append, (*model).append, (*model).setACL, (*model).setACL,
		(*model).status, (*model).rename, (*model).remake, (*model).myRights, (*model).list, (*model).noop, (*model).idle,
	}
	inBox := []func(*model, *modelSession){
		(*model).store, (*model).store, (*model).store, (*model).fetch, (*model).fetch, (*model).search, (*model).search,
		(*model).copy, (*model).copy, (*model).move, (*model).expunge, (*model).noop, (*model).noop, (*model).leave,
	}
	if s.box != nil && !m.chance(3) {
		inBox[m.r.IntN(len(inBox))](m, s)
		return
	}
	free[m.r.IntN(len(free))](m, s)
}

// empty removes all messages of a mailbox, so that none grows without end.
func (m *model) empty(b *mailBox) {
	m.t.Helper()
	c := m.probes[b.owner]
	delete(b.acl, "owner")
	delete(b.acl, b.owner)
	delete(b.acl, "-owner")
	delete(b.acl, "-"+b.owner)
	for _, text := range []string{
		"DELETEACL " + b.name + " owner", "DELETEACL " + b.name + " -owner", "DELETEACL " + b.name + " " + b.owner, "DELETEACL " + b.name + " -" + b.owner,
		"SELECT " + b.name, `UID STORE 1:* +FLAGS.SILENT (\Deleted)`, "EXPUNGE",
	} {
		c.command(text)
		c.matched = len(c.answer) - 1
		c.expect("OK")
	}
	b.messages = nil
}

func (m *model) store(s *modelSession) {
	m.t.Helper()
	uids, set, byUID, ok := s.some()
	if !ok {
		return
	}
	flags, op, silent := m.someFlags(), []string{"FLAGS", "+FLAGS", "-FLAGS"}[m.r.IntN(3)], ""
	if m.chance(3) {
		silent = ".SILENT"
	}
	rights := s.box.rights(s.user)
	permitted := func(f string) bool { return mayAll(rights, rightFor(f)) }
	refused := s.examined || !mayAll(rights, "r") || !strings.ContainsAny(rights, "swt") ||
		len(flags) > 0 && !slices.ContainsFunc(flags, permitted)
	want := "OK"
	switch {
	case s.box.gone && !s.examined:
		refused, want = true, noMailbox
	case refused:
		want = noPerm
	}
	text := fmt.Sprintf("%s %s %s%s (%s)", s.verb("STORE", byUID), set, op, silent, strings.Join(flags, " "))
	before := slices.Clone(s.known)
	if !refused {
		s.assume(uids, op, flags)
		for _, msg := range s.box.existing(uids) {
			msg.change(s.user, op, flags, rights)
		}
	}
	ok = s.do(text, want)
	s.holds = false
	if ok && silent == "" {
		for _, msg := range s.box.existing(uids) {
			s.mustKnow(msg)
		}
	}
	if !ok {
		s.unmoved(before)
	}
	s.learn()
	m.verify(s.box, m.someUser())
}

func (m *model) fetch(s *modelSession) {
	m.t.Helper()
	uids, set, byUID, ok := s.some()
	if !ok {
		return
	}
	items := []string{"FLAGS", "BODY[]", "BODY.PEEK[]", "(UID BODY[TEXT] BODY.PEEK[HEADER])", "RFC822", "(RFC822.SIZE FLAGS)"}
	item := items[m.r.IntN(len(items))]
	rights := s.box.rights(s.user)
	marks := (strings.Contains(item, "BODY[") || item == "RFC822") && !s.examined && mayAll(rights, "s")
	found := s.box.existing(uids)
	if marks && mayAll(rights, "r") && !s.box.gone {
		for _, msg := range found {
			msg.seen[s.user] = true
		}
	}
	before := slices.Clone(s.known)
	ok = s.do(s.verb("FETCH", byUID)+" "+set+" "+item, s.orRefused("r")...)
	s.holds = false
	for _, msg := range found {
		if ok {
			s.mustShow(before, msg, item)
		}
		if ok && (marks || strings.Contains(item, "FLAGS")) {
			s.mustKnow(msg)
		}
	}
	s.learn()
	m.verify(s.box, m.someUser())
}

// search checks the answer to a random program.
func (m *model) search(s *modelSession) {
	m.t.Helper()
	if len(s.known) == 0 || slices.ContainsFunc(s.known, func(k knownMessage) bool { return k.uid == 0 }) {
		return
	}
	byUID := m.chance(2)
	text, match := m.program(s, 3)
	want := "* SEARCH"
	for i, k := range s.known {
		msg := s.box.find(k.uid)
		switch {
		case msg == nil || !match(msg):
		case byUID:
			want += " " + strconv.Itoa(k.uid)
		default:
			want += " " + strconv.Itoa(i+1)
		}
	}
	ok := s.do(s.verb("SEARCH", byUID)+" "+text, s.orRefused("r")...)
	s.holds = false
	if ok && !slices.Contains(s.answer, want) {
		m.fatalf("%s: SEARCH %s: want %q", s.user, text, want)
	}
	s.learn()
}

// program is a search program and what it means.
func (m *model) program(s *modelSession, depth int) (text string, match func(*mailMessage) bool) {
	flagged := func(f string) func(*mailMessage) bool {
		return func(msg *mailMessage) bool { return slices.Contains(msg.visible(s.user), f) }
	}
	not := func(is func(*mailMessage) bool) func(*mailMessage) bool {
		return func(msg *mailMessage) bool { return !is(msg) }
	}
	if depth > 0 && m.chance(2) {
		a, isA := m.program(s, depth-1)
		b, isB := m.program(s, depth-1)
		switch m.r.IntN(3) {
		case 0:
			return "NOT " + a, not(isA)
		case 1:
			return "OR " + a + " " + b, func(msg *mailMessage) bool { return isA(msg) || isB(msg) }
		}
		return "(" + a + " " + b + ")", func(msg *mailMessage) bool { return isA(msg) && isB(msg) }
	}
	word := modelWords[m.r.IntN(len(modelWords))]
	size := 20 + m.r.IntN(60)
	uids, set, byUID, ok := s.some()
	switch n := m.r.IntN(9); {
	case n < 2:
		return "SEEN", flagged(`\Seen`)
	case n < 4:
		return "UNSEEN", not(flagged(`\Seen`))
	case n == 4:
		f := modelFlags[1+m.r.IntN(len(modelFlags)-1)]
		return strings.TrimPrefix("KEYWORD "+f, `KEYWORD \`), flagged(f)
	case n == 5:
		return fmt.Sprintf("LARGER %d", size), func(msg *mailMessage) bool { return len(msg.text) > size }
	case n == 6 && ok:
		if byUID {
			set = "UID " + set
		}
		return set, func(msg *mailMessage) bool { return slices.Contains(uids, msg.uid) }
	case n == 7:
		return "SUBJECT " + word, func(msg *mailMessage) bool { return strings.Contains(msg.text, "Subject: "+word) }
	}
	return "BODY " + word, func(msg *mailMessage) bool { return strings.Contains(msg.text, "body "+word) }
}

var modelWords = []string{"apples", "pears", "plums"}

func (m *model) someText() string {
	word := func() string { return modelWords[m.r.IntN(len(modelWords))] }
	return fmt.Sprintf("Subject: %s\r\n\r\nbody %s%s\r\n", word(), word(), strings.Repeat("!", m.r.IntN(40)))
}

func (m *model) append(s *modelSession) {
	m.t.Helper()
	b := m.someBox()
	text, first := "APPEND "+b.nameFor(s.user), b.next
	refused := b.lacks(s.user, "i", tryCreate)
	for range 1 + m.r.IntN(2) {
		flags, body := m.someFlags(), m.someText()
		text += fmt.Sprintf(" (%s) <<%s", strings.Join(flags, " "), strconv.Quote(body))
		if refused == "" {
			b.add(s.user, body, flags)
		}
	}
	want := refused
	switch {
	case refused != "":
	case mayAll(b.rights(s.user), "r"):
		want = "OK [APPENDUID " + b.validity + " " + uidRange(first, b.next-1) + "]"
	default:
		want = "OK Append"
	}
	s.do(text, want)
	s.learn()
	m.verify(b, m.someUser())
}

func uidRange(from, to int) string {
	if from == to {
		return strconv.Itoa(from)
	}
	return fmt.Sprintf("%d:%d", from, to)
}

func (m *model) copy(s *modelSession) { m.transfer(s, "COPY", "r") }
func (m *model) move(s *modelSession) { m.transfer(s, "MOVE", "rte") }

// transfer is COPY or MOVE to a mailbox of anyone.
func (m *model) transfer(s *modelSession, verb, need string) {
	m.t.Helper()
	uids, set, byUID, ok := s.some()
	if !ok {
		return
	}
	dest, found := m.someBox(), s.box.existing(uids)
	refusals := []string{}
	if !mayAll(s.box.rights(s.user), need) || verb == "MOVE" && s.examined {
		refusals = append(refusals, noPerm)
	}
	if s.box.gone {
		refusals = append(refusals, noMailbox)
	}
	if code := dest.lacks(s.user, "i", tryCreate); code != "" {
		refusals = append(refusals, code)
	}
	if len(found) == 0 {
		refusals = append(refusals, "NO [EXPUNGEISSUED]", "OK")
	}
	text := s.verb(verb, byUID) + " " + set + " " + dest.nameFor(s.user)
	if len(refusals) > 0 {
		s.do(text, refusals...)
	} else {
		code := m.transferred(s, found, dest, verb == "MOVE")
		s.do(text, "OK")
		if told := slices.ContainsFunc(s.answer, func(line string) bool { return strings.Contains(line, code) }); !told {
			m.fatalf("%s: %s: want %q", s.user, text, code)
		}
	}
	s.learn()
	m.verify(s.box, m.someUser())
	m.verify(dest, m.someUser())
}

// transferred does it in the model, and gives what the answer says of it. Within
// an owner's mail a copy is the same message to everyone; between two, and where
// the user may not set all flags, it is a new one with the flags that the user
// sees and may set.
func (m *model) transferred(s *modelSession, found []*mailMessage, dest *mailBox, move bool) string {
	var from []string
	first := dest.next
	for _, msg := range found {
		from = append(from, strconv.Itoa(msg.uid))
		added := dest.find(dest.add(s.user, msg.text, msg.visible(s.user)))
		if s.box.owner == dest.owner && mayAll(dest.rights(s.user), "swt") {
			added.flags, added.seen = maps.Clone(msg.flags), maps.Clone(msg.seen)
		}
	}
	if move {
		s.box.remove(func(msg *mailMessage) bool { return slices.Contains(found, msg) })
	}
	if !mayAll(dest.rights(s.user), "r") {
		return "OK "
	}
	return "OK [COPYUID " + dest.validity + " " + compact(from) + " " + uidRange(first, dest.next-1) + "]"
}

// compact writes ascending numbers as a set.
func compact(numbers []string) string {
	var out []string
	for i := 0; i < len(numbers); {
		first, _ := strconv.Atoi(numbers[i])
		last := first
		for i++; i < len(numbers) && numbers[i] == strconv.Itoa(last+1); i++ {
			last++
		}
		out = append(out, uidRange(first, last))
	}
	return strings.Join(out, ",")
}

// expunge is EXPUNGE, UID EXPUNGE or CLOSE.
func (m *model) expunge(s *modelSession) {
	m.t.Helper()
	allowed := !s.examined && mayAll(s.box.rights(s.user), "re")
	deleted := func(msg *mailMessage) bool { return allowed && msg.flags[`\Deleted`] }
	b := s.box
	want := "OK"
	switch {
	case b.gone && !s.examined:
		want = noMailbox
	case !allowed:
		want = noPerm
	}
	switch uids, set, byUID, ok := s.some(); {
	case ok && byUID:
		b.remove(func(msg *mailMessage) bool { return deleted(msg) && slices.Contains(uids, msg.uid) })
		s.do("UID EXPUNGE "+set, want)
	case m.chance(3):
		m.noop(s) // CLOSE goes by what the session knows of its rights
		b.remove(deleted)
		s.do("CLOSE", "OK")
		s.box, s.known = nil, nil
	default:
		b.remove(deleted)
		s.do("EXPUNGE", want)
	}
	s.learn()
	m.verify(b, m.someUser())
}

func (m *model) selectBox(s *modelSession) {
	m.t.Helper()
	b := m.someBox()
	verb := "SELECT"
	s.examined = m.chance(5)
	if s.examined {
		verb = "EXAMINE"
	}
	rights := b.rights(s.user)
	want := b.lacks(s.user, "r", noMailbox)
	switch {
	case want != "":
	case s.examined || !strings.ContainsAny(rights, "wstei"):
		want = "OK [READ-ONLY]"
	default:
		want = "OK [READ-WRITE]"
	}
	s.box, s.known, s.readOnly = b, nil, strings.Contains(want, "ONLY")
	if !s.do(verb+" "+b.nameFor(s.user), want) {
		s.box, s.known = nil, nil
		return
	}
	if next := fmt.Sprintf("* OK [UIDNEXT %d]", b.next); !slices.ContainsFunc(s.answer, func(l string) bool { return strings.HasPrefix(l, next) }) {
		m.fatalf("%s: %s %s: want %s", s.user, verb, b.name, next)
	}
	s.learn()
	m.believes(s)
}

// leave is UNSELECT.
func (m *model) leave(s *modelSession) {
	m.t.Helper()
	s.do("UNSELECT", "OK")
	s.box, s.known = nil, nil
}

// noop brings the client up to date: what it believes is the truth.
func (m *model) noop(s *modelSession) {
	m.t.Helper()
	if s.idling {
		m.done(s)
	}
	s.do("NOOP", "OK")
	if s.box != nil && !s.box.gone && mayAll(s.box.rights(s.user), "r") {
		s.learn()
		m.believes(s)
	}
}

// believes compares what the client believes with the truth.
func (m *model) believes(s *modelSession) {
	m.t.Helper()
	rights := s.box.rights(s.user)
	for i, msg := range s.box.messages {
		if i >= len(s.known) || s.known[i].uid != msg.uid {
			m.fatalf("%s believes that the %d. message is not UID %d of %s: %v", s.user, i+1, msg.uid, s.box.name, s.known)
		}
		s.mustKnow(msg)
	}
	if len(s.known) != len(s.box.messages) {
		m.fatalf("%s believes in %d messages, there are %d", s.user, len(s.known), len(s.box.messages))
	}
	for _, f := range []string{`\Seen`, `\Deleted`, `\Flagged`, `\*`} {
		if told, may := slices.Contains(strings.Fields(s.permanent), f), !s.examined && mayAll(rights, rightFor(f)); told != may {
			m.fatalf("%s (%s) was told of PERMANENTFLAGS (%s)", s.user, s.rightsNow(), s.permanent)
		}
	}
	if readOnly := s.examined || !strings.ContainsAny(rights, "wstei"); readOnly != s.readOnly {
		m.fatalf("%s (%s) was told that READ-ONLY is %v", s.user, s.rightsNow(), s.readOnly)
	}
}

func (m *model) idle(s *modelSession) {
	m.t.Helper()
	m.trace = append(m.trace, fmt.Sprintf("%d %s: IDLE", m.step, s.user))
	s.command("IDLE")
}

func (m *model) done(s *modelSession) {
	m.t.Helper()
	s.command("DONE")
	s.hear("DONE", "OK")
	s.learn()
}
