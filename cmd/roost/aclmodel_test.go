package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/share"
	"github.com/roost-mail/roost/store"
)

var (
	aclModelSeed = flag.Uint64("aclmodel.seed", 0, "the seed of TestACLModel; 0 takes one from the clock")
	aclModelFor  = flag.Duration("aclmodel.for", time.Second, "how long TestACLModel runs with each set of rules")
)

// TestACLModel has an owner and readers change rights at random, and make, move and
// delete mailboxes, through the store, the index and the guard. After each step a model,
// of maps and letters, says what everybody may do: MYRIGHTS, LIST of the owner's
// mailboxes, the sharing index and what sessions have open have to agree.
func TestACLModel(t *testing.T) {
	for _, rules := range []struct{ live, inbox, globals bool }{
		{}, {live: true}, {inbox: true}, {globals: true}, {live: true, inbox: true, globals: true},
	} {
		name := fmt.Sprintf("live=%v,inbox=%v,globals=%v", rules.live, rules.inbox, rules.globals)
		t.Run(name, func(t *testing.T) {
			seed := *aclModelSeed
			if seed == 0 {
				seed = uint64(time.Now().UnixNano())
			}
			t.Logf("-aclmodel.seed=%d", seed)
			w := newACLWorld(t, rand.New(rand.NewPCG(seed, 0)), &aclModel{live: rules.live, inbox: rules.inbox}, rules.globals)
			steps := 0
			for began := time.Now(); time.Since(began) < *aclModelFor && !t.Failed(); steps++ {
				w.step()
				w.compare()
			}
			t.Logf("%d steps", steps)
			if t.Failed() {
				t.Logf("last steps:\n%s", strings.Join(w.trace[max(0, len(w.trace)-30):], "\n"))
			}
		})
	}
}

// aclModel is the truth: letters by identifier, "-" before it for what is denied.
type aclModel struct {
	live, inbox bool
	boxes       map[string]aclLines // by mailbox
	globals     []aclGlobal
	groups      map[string][]string
}

type aclLines map[string]string

type aclGlobal struct{ pattern, id, letters string }

var aclKinds = []string{"anyone", "authenticated", "group=", "owner", "user=", "group-override="}

// speaks says whether an identifier of a kind is about user.
func (m *aclModel) speaks(kind, id, user string) bool {
	name, ok := strings.CutPrefix(id, kind)
	switch {
	case !ok || kind[len(kind)-1] != '=' && name != "":
		return false
	case kind == "owner":
		return user == "ann"
	case kind == "user=":
		return name == user
	case strings.HasPrefix(kind, "group"):
		return slices.Contains(m.groups[user], name)
	}
	return true
}

func lettersPlus(a, b string) string { return normalLetters(a + b) }
func lettersMinus(a, b string) string {
	return strings.Map(func(r rune) rune { return dropIf(strings.ContainsRune(b, r), r) }, a)
}

func dropIf(drop bool, r rune) rune {
	if drop {
		return -1
	}
	return r
}

func normalLetters(s string) string {
	return strings.Map(func(r rune) rune { return dropIf(!strings.ContainsRune(s, r), r) }, "lrwstipekxa")
}

// follows are the lines that hold for a mailbox as long as it has none.
func (m *aclModel) follows(name string) aclLines {
	for above := name; m.live && strings.Contains(above, "/"); {
		above = above[:strings.LastIndexByte(above, '/')]
		if len(m.boxes[above]) > 0 {
			return m.boxes[above]
		}
	}
	if m.inbox && name != "INBOX" {
		return m.boxes["INBOX"]
	}
	return nil
}

func (m *aclModel) lines(name string) aclLines {
	if own := m.boxes[name]; len(own) > 0 {
		return own
	}
	return m.follows(name)
}

// rights is what the documentation says of Dovecot's order.
func (m *aclModel) rights(name, user string) string {
	granted, denied := "", ""
	if user == "ann" {
		granted = "lrwstipekxa"
	}
	local := m.lines(name)
	for _, kind := range aclKinds {
		weak := kind == "anyone" || kind == "authenticated" || kind == "group="
		if user == "ann" && weak {
			continue
		}
		granted, denied = m.hear(local, kind, user, granted, denied)
	}
	if user == "ann" {
		granted, denied = lettersPlus(granted, "a"), lettersMinus(denied, "a")
	}
	global := aclLines{}
	for _, g := range m.globals {
		if g.pattern == "*" || g.pattern == name {
			global[g.id] = lettersPlus(global[g.id], g.letters)
		}
	}
	about := func(id string) bool {
		return slices.ContainsFunc(aclKinds, func(kind string) bool { return m.speaks(kind, strings.TrimPrefix(id, "-"), user) })
	}
	if slices.ContainsFunc(slices.Collect(maps.Keys(global)), about) {
		denied = ""
	}
	for _, kind := range aclKinds {
		granted, denied = m.hear(global, kind, user, granted, denied)
	}
	return lettersMinus(normalLetters(granted), denied)
}

// hear takes in the lines of a kind: the first identifier's replace, the others' add.
func (m *aclModel) hear(lines aclLines, kind, user, granted, denied string) (newGranted, newDenied string) {
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

// set is SETACL and, with a change of 'x', DELETEACL by user.
func (m *aclModel) set(name, id string, change byte, letters, user string) {
	lines := maps.Clone(m.lines(name))
	if lines == nil {
		lines = aclLines{}
	}
	before := maps.Clone(lines)
	own := id == "user="+user || user == "ann" && id == "owner"
	old, there := lines[id]
	if !there && own && user == "ann" && change != '=' {
		old = "lrwstipekxa"
	}
	switch change {
	case '=':
		lines[id] = normalLetters(letters)
	case '+':
		lines[id] = lettersPlus(old, letters)
	case '-':
		if there || own {
			lines[id] = lettersMinus(old, letters)
		}
	case 'x':
		delete(lines, id)
	}
	if got, is := lines[id]; is && own {
		lines[id] = lettersPlus(got, "a")
	}
	if id[0] == '-' && lines[id] == "" {
		delete(lines, id)
	}
	_, hadOwners := before["owner"]
	_, deniedOwners := before["-owner"]
	switch {
	case maps.Equal(lines, before):
		return // nothing of what it follows becomes its own
	case len(lines) == 0 && len(m.follows(name)) > 0 && !hadOwners && !deniedOwners:
		lines["owner"] = "lrwstipekxa"
	}
	m.boxes[name] = lines
}

func (m *aclModel) mayCreate(name, user string) bool {
	for strings.Contains(name, "/") {
		name = name[:strings.LastIndexByte(name, '/')]
		if _, ok := m.boxes[name]; ok {
			return strings.Contains(m.rights(name, user), "k")
		}
	}
	return user == "ann"
}

func (m *aclModel) create(name string) {
	var lines aclLines
	for above := name; !m.live && strings.Contains(above, "/"); {
		above = above[:strings.LastIndexByte(above, '/')]
		if have, ok := m.boxes[above]; ok {
			lines = have
			break
		}
	}
	for {
		if _, ok := m.boxes[name]; ok {
			return
		}
		m.boxes[name] = maps.Clone(lines)
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return
		}
		name = name[:i]
	}
}

// aclWorld is the home with everything before it, the model, and open sessions.
type aclWorld struct {
	t         *testing.T
	r         *rand.Rand
	m         *aclModel
	home      *store.Account
	publisher *share.Publisher
	index     *share.Index
	rules     acl.Rules
	globals   atomic.Pointer[acl.Globals]
	varied    bool // global entries change too
	readers   []string
	open      []*aclSession
	trace     []string
}

// aclSession has a mailbox open, for as long as that exists. It is judged by the groups that
// its user had when it began.
type aclSession struct {
	user   string
	groups []string
	box    mailbox.Mailbox
	guard  *acl.Guard
	name   string // what the mailbox is called now
	gone   bool
	could  bool
	heard  atomic.Bool
	stop   func()
}

func newACLWorld(t *testing.T, r *rand.Rand, m *aclModel, varied bool) *aclWorld {
	t.Helper()
	m.boxes = map[string]aclLines{"INBOX": nil}
	m.groups = map[string][]string{"bob": {"team"}, "eve": {"staff", "team"}}
	w := &aclWorld{t: t, r: r, m: m, varied: varied, readers: []string{"bob", "eve", "dan"}}
	w.rules = acl.Rules{DefaultsFromInbox: m.inbox, Inherit: m.live, Globals: w.globals.Load}
	log := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	s := store.New(store.Options{Holder: "here", Log: log, FollowACL: m.live})
	var err error
	if w.home, err = s.Open(t.Context(), "ann", filepath.Join(dir, "ann", "mail")); err != nil {
		t.Fatal(err)
	}
	d := dict.NewMemory()
	w.publisher = share.NewPublisher(share.PublisherConfig{
		Dict: d, Log: log, Rules: w.rules,
		Open: func(context.Context, string) (share.Home, error) { return w.session("ann"), nil },
	})
	w.index = share.NewIndex(d, log)
	t.Cleanup(func() {
		for _, o := range w.open {
			o.close()
		}
		w.publisher.Close()
		for _, c := range []interface{ Close() error }{w.home, s} {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		checkMail(t, dir)
	})
	return w
}

func (w *aclWorld) session(user string) *store.Session { return w.home.As(store.View{Acting: user}) }

func (w *aclWorld) guard(user string) *acl.Guard {
	home := share.NewPublishing(w.publisher, "ann", w.session(user))
	who := acl.Identity{Owner: "ann", Acting: user, Groups: w.m.groups[user]}
	return acl.NewGuard(home, who, acl.Options{Rules: w.rules, AllowAnyone: true})
}

func (o *aclSession) close() {
	o.stop()
	_, _ = o.box.Close(), o.guard.Close()
}

func (w *aclWorld) pick(list ...string) string { return list[w.r.IntN(len(list))] }

func (w *aclWorld) name() string {
	return w.pick("INBOX", "a", "a/b", "a/b/c", "a/d", "x", "x/b", "x/b/c", "x/a")
}

func (w *aclWorld) letters() string {
	switch w.r.IntN(4) {
	case 0:
		return ""
	case 1:
		return "lr"
	}
	return imap.Rights(w.r.UintN(uint(imap.AllRights) + 1)).Letters()
}

// step does one thing, as somebody.
func (w *aclWorld) step() {
	user := w.pick("ann", "ann", "ann", "bob", "eve", "dan")
	name := w.name()
	switch n := w.r.IntN(20); {
	case n < 9:
		w.setACL(user, name)
	case n < 12:
		w.create(user, name)
	case n < 13:
		w.remove(user, name)
	case n < 15:
		w.rename(user, name, w.name())
	case n < 18:
		w.sitDown(user, name)
	case n < 19:
		w.m.groups[user] = []string{"team", "staff"}[:w.r.IntN(3)]
		w.say("%s is in %v", user, w.m.groups[user])
	case w.varied:
		w.changeGlobals()
	}
}

func (w *aclWorld) say(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

// did compares whether something was done with whether it may be, and says whether it was.
func (w *aclWorld) did(err error, may bool, what string) bool {
	w.t.Helper()
	w.say("%s: %v", what, err)
	if may != (err == nil) {
		w.t.Errorf("%s: %v, and the model says %v", what, err, may)
	}
	return err == nil
}

func (w *aclWorld) has(name string) bool {
	_, ok := w.m.boxes[name]
	return ok
}

func (w *aclWorld) may(user, name, letter string) bool {
	return w.has(name) && strings.Contains(w.m.rights(name, user), letter)
}

func (w *aclWorld) setACL(user, name string) {
	g := w.guard(user)
	defer g.Close() //nolint:errcheck // never fails
	shown := w.pick("anyone", "authenticated", "bob", "eve", "dan", "ann", "owner", "$team", "$staff", "!$team", "!$staff")
	id := shown
	switch {
	case shown[0] == '$':
		id = "group=" + shown[1:]
	case shown[0] == '!':
		id = "group-override=" + shown[2:]
	case !slices.Contains([]string{"anyone", "authenticated", "owner"}, shown):
		id = "user=" + shown
	}
	if w.r.IntN(3) == 0 {
		shown, id = "-"+shown, "-"+id
	}
	change, letters := w.pick("=", "=", "+", "-", "x", "x", "x", "x")[0], w.letters()
	if there := slices.Sorted(maps.Keys(w.m.lines(name))); change == 'x' && len(there) > 0 {
		id = w.pick(there...)
		shown = strings.NewReplacer("user=", "", "group-override=", "!$", "group=", "$").Replace(id)
	}
	rights, err := imap.ParseRights(letters)
	if err != nil {
		w.t.Fatal(err)
	}
	if change == 'x' {
		err = g.DeleteACL(w.t.Context(), name, shown)
	} else {
		err = g.SetACL(w.t.Context(), name, shown, imap.ACLChange(change), rights)
	}
	if w.did(err, w.may(user, name, "a"), fmt.Sprintf("%s: SETACL %s %s %c%s", user, name, shown, change, letters)) {
		w.m.set(name, id, change, letters, user)
	}
}

func (w *aclWorld) create(user, name string) {
	g := w.guard(user)
	defer g.Close() //nolint:errcheck // never fails
	if w.did(g.Create(w.t.Context(), name), !w.has(name) && w.m.mayCreate(name, user), user+": CREATE "+name) {
		w.m.create(name)
	}
}

func (w *aclWorld) remove(user, name string) {
	g := w.guard(user)
	defer g.Close() //nolint:errcheck // never fails
	if !w.did(g.Delete(w.t.Context(), name), name != "INBOX" && w.may(user, name, "x"), user+": DELETE "+name) {
		return
	}
	delete(w.m.boxes, name)
	for _, o := range w.open {
		o.gone = o.gone || o.name == name
	}
}

func (w *aclWorld) rename(user, from, to string) {
	if from == "INBOX" || to == from || strings.HasPrefix(to, from+"/") {
		return
	}
	g := w.guard(user)
	defer g.Close() //nolint:errcheck // never fails
	free := !w.has(to)
	moves := map[string]string{}
	for name := range w.m.boxes {
		if rest, below := strings.CutPrefix(name, from+"/"); below {
			moves[name] = to + "/" + rest
			free = free && !w.has(to+"/"+rest)
		}
	}
	may := free && w.may(user, from, "x") && w.m.mayCreate(to, user)
	if !w.did(g.Rename(w.t.Context(), from, to), may, user+": RENAME "+from+" "+to) {
		return
	}
	moves[from] = to
	moved := map[string]aclLines{}
	for old := range moves {
		moved[old] = w.m.boxes[old]
	}
	if i := strings.LastIndexByte(to, '/'); i > 0 && !w.has(to[:i]) {
		w.m.create(to[:i])
	}
	for old := range moves {
		delete(w.m.boxes, old)
	}
	for old, lines := range moved {
		w.m.boxes[moves[old]] = lines
	}
	for _, o := range w.open {
		if renamed, is := moves[o.name]; is && !o.gone {
			o.name = renamed
		}
	}
}

// sitDown has a user open a mailbox, in place of whoever has sat longest.
func (w *aclWorld) sitDown(user, name string) {
	g := w.guard(user)
	m, err := g.Open(w.t.Context(), name, false)
	if !w.did(err, w.may(user, name, "r"), user+": SELECT "+name) {
		_ = g.Close()
		return
	}
	o := &aclSession{user: user, groups: w.m.groups[user], box: m, guard: g, name: name, could: true}
	o.stop = m.Watch(func() { o.heard.Store(true) })
	if w.open = append(w.open, o); len(w.open) > 5 {
		w.open[0].close()
		w.open = w.open[1:]
	}
}

// changeGlobals is a reload with another file, behind which the index is brought into line,
// and sessions hear at their next command only.
func (w *aclWorld) changeGlobals() {
	w.m.globals = nil
	var text strings.Builder
	for range w.r.IntN(3) {
		l := aclGlobal{w.pick("*", "a", "x/b"), w.pick("anyone", "user=bob", "group=staff", "owner", "-user=eve", "-owner", "-group=team"), w.letters()}
		w.m.globals = append(w.m.globals, l)
		fmt.Fprintf(&text, "%s %s %s\n", l.pattern, l.id, l.letters)
	}
	g, err := acl.ParseGlobals(strings.NewReader(text.String()))
	if err != nil {
		w.t.Fatal(err)
	}
	w.globals.Store(g)
	w.say("global rights are %q", text.String())
	home := w.session("ann")
	defer home.Close() //nolint:errcheck // never fails
	if err := w.publisher.Recalc(w.t.Context(), "ann", home); err != nil {
		w.t.Fatal(err)
	}
	for _, o := range w.open {
		o.heard.Store(true) // at the next command
	}
}

// compare looks whether all agree with the model.
func (w *aclWorld) compare() {
	ctx := w.t.Context()
	for _, user := range append([]string{"ann"}, w.readers...) {
		g := w.guard(user)
		listed := map[string]bool{}
		all, err := g.List(ctx, []string{"*"})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, e := range all {
			listed[e.Name] = e.Rights != 0
		}
		for name := range w.m.boxes {
			want := w.m.rights(name, user)
			have, err := g.MyRights(ctx, name)
			if strings.ContainsAny(want, "lrikxa") {
				if err != nil || have.Letters() != want {
					w.t.Errorf("%s: MYRIGHTS %s: %s, %v, want %s", user, name, have.Letters(), err, want)
				}
			} else if imap.CodeOf(err) != imap.CodeNonExistent {
				w.t.Errorf("%s: MYRIGHTS %s: %s, %v, want nothing", user, name, have.Letters(), err)
			}
			if listed[name] != strings.Contains(want, "l") {
				w.t.Errorf("%s: LIST shows %s: %v; %s", user, name, listed[name], want)
			}
		}
		_ = g.Close()
		if user != "ann" {
			w.compareIndex(user)
		}
	}
	for _, o := range w.open {
		w.compareSession(o)
	}
}

func (w *aclWorld) compareIndex(user string) {
	visible, vague, err := w.index.Visible(w.t.Context(), user, w.m.groups[user])
	if err != nil || len(vague) > 0 {
		w.t.Fatalf("index: %v, vague %v", err, vague)
	}
	got := map[string]string{}
	for _, e := range visible["ann"] {
		got[e.Name] = e.Rights.Letters()
	}
	want := map[string]string{}
	for name := range w.m.boxes {
		if have := w.m.rights(name, user); strings.Contains(have, "l") {
			want[name] = have
		}
	}
	if !maps.Equal(got, want) {
		w.t.Errorf("%s: the index has %v, want %v", user, got, want)
	}
}

// compareSession asks for something in a mailbox that is open, and hears its news.
func (w *aclWorld) compareSession(o *aclSession) {
	now := w.m.groups
	w.m.groups = maps.Clone(now)
	w.m.groups[o.user] = o.groups
	can := !o.gone && w.may(o.user, o.name, "r")
	w.m.groups = now
	if o.could && !can && !o.heard.Load() {
		w.t.Errorf("%s was not told that %s can't be read any more", o.user, o.name)
	}
	want := map[bool]imap.Code{true: imap.CodeNonExistent, false: imap.CodeNoPerm}[o.gone]
	_, err := o.box.Search(w.t.Context(), &imap.SearchKey{})
	if can && err != nil || !can && imap.CodeOf(err) != want {
		w.t.Errorf("%s, who has %s open: %v; may read it: %v", o.user, o.name, err, can)
	}
	c, err := o.box.Sync(w.t.Context(), true)
	if o.could && !can && (!c.Revoked && !c.Gone) {
		w.t.Errorf("%s, who had %s open, hears %+v, %v", o.user, o.name, c, err)
	}
	o.could = can
	o.heard.Store(false)
}
