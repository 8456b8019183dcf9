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
	"github.com/roost-mail/roost/acl/acltest"
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
			w := newACLWorld(t, rand.New(rand.NewPCG(seed, 0)), &acltest.Model{Owner: "ann", Live: rules.live, Inbox: rules.inbox}, rules.globals)
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

// aclWorld is the home with everything before it, the model, and open sessions.
type aclWorld struct {
	t         *testing.T
	r         *rand.Rand
	m         *acltest.Model
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

func newACLWorld(t *testing.T, r *rand.Rand, m *acltest.Model, varied bool) *aclWorld {
	t.Helper()
	m.Boxes = map[string]acltest.Lines{"INBOX": nil}
	m.Groups = map[string][]string{"bob": {"team"}, "eve": {"staff", "team"}}
	w := &aclWorld{t: t, r: r, m: m, varied: varied, readers: []string{"bob", "eve", "dan"}}
	w.rules = acl.Rules{DefaultsFromInbox: m.Inbox, Inherit: m.Live, Globals: w.globals.Load}
	log := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	s := store.New(store.Options{Holder: "here", Log: log, FollowACL: m.Live})
	var err error
	if w.home, err = s.Open(t.Context(), "ann", filepath.Join(dir, "ann", "mail")); err != nil {
		t.Fatal(err)
	}
	d := dict.NewMemory()
	w.publisher = share.NewPublisher(share.PublisherConfig{
		Dict: d, Log: log, Rules: func(context.Context, string) (acl.Rules, error) { return w.rules, nil },
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
	who := acl.Identity{Owner: "ann", Acting: user, Groups: w.m.Groups[user]}
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
		w.m.Groups[user] = []string{"team", "staff"}[:w.r.IntN(3)]
		w.say("%s is in %v", user, w.m.Groups[user])
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

func (w *aclWorld) setACL(user, name string) {
	g := w.guard(user)
	defer g.Close() //nolint:errcheck // never fails
	shown := w.pick("anyone", "authenticated", "bob", "eve", "dan", "ann", "owner", "$team", "$staff", "!$team", "!$staff")
	id := acltest.ID(shown)
	if w.r.IntN(3) == 0 {
		shown, id = "-"+shown, "-"+id
	}
	change, letters := w.pick("=", "=", "+", "-", "x", "x", "x", "x")[0], w.letters()
	if there := slices.Sorted(maps.Keys(w.m.Lines(name))); change == 'x' && len(there) > 0 {
		id = w.pick(there...)
		shown = acltest.Shown(id)
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
	if w.did(err, w.m.May(user, name, "a"), fmt.Sprintf("%s: SETACL %s %s %c%s", user, name, shown, change, letters)) {
		w.m.Set(name, id, change, letters, user)
	}
}

func (w *aclWorld) create(user, name string) {
	g := w.guard(user)
	defer g.Close() //nolint:errcheck // never fails
	if w.did(g.Create(w.t.Context(), name), !w.m.Has(name) && w.m.MayCreate(name, user), user+": CREATE "+name) {
		w.m.Create(name)
	}
}

func (w *aclWorld) remove(user, name string) {
	g := w.guard(user)
	defer g.Close() //nolint:errcheck // never fails
	if !w.did(g.Delete(w.t.Context(), name), name != "INBOX" && w.m.May(user, name, "x"), user+": DELETE "+name) {
		return
	}
	delete(w.m.Boxes, name)
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
	moves, free := w.m.Renamed(from, to)
	may := free && w.m.May(user, from, "x") && w.m.MayCreate(to, user)
	if !w.did(g.Rename(w.t.Context(), from, to), may, user+": RENAME "+from+" "+to) {
		return
	}
	w.m.Rename(from, to)
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
	if !w.did(err, w.m.May(user, name, "r"), user+": SELECT "+name) {
		_ = g.Close()
		return
	}
	o := &aclSession{user: user, groups: w.m.Groups[user], box: m, guard: g, name: name, could: true}
	o.stop = m.Watch(func() { o.heard.Store(true) })
	if w.open = append(w.open, o); len(w.open) > 5 {
		w.open[0].close()
		w.open = w.open[1:]
	}
}

// changeGlobals is a reload with another file, behind which the index is brought into line,
// and sessions hear at their next command only.
func (w *aclWorld) changeGlobals() {
	w.m.Globals = nil
	var text strings.Builder
	for range w.r.IntN(3) {
		l := acltest.Global{Pattern: w.pick("*", "a", "x/b"), ID: w.pick("anyone", "user=bob", "group=staff", "owner", "-user=eve", "-owner", "-group=team"), Letters: w.letters()}
		w.m.Globals = append(w.m.Globals, l)
		fmt.Fprintf(&text, "%s %s %s\n", l.Pattern, l.ID, l.Letters)
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
		for name := range w.m.Boxes {
			want := w.m.Rights(name, user)
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
	visible, vague, err := w.index.Visible(w.t.Context(), user, w.m.Groups[user])
	if err != nil || len(vague) > 0 {
		w.t.Fatalf("index: %v, vague %v", err, vague)
	}
	got := map[string]string{}
	for _, e := range visible["ann"] {
		got[e.Name] = e.Rights.Letters()
	}
	want := map[string]string{}
	for name := range w.m.Boxes {
		if have := w.m.Rights(name, user); strings.Contains(have, "l") {
			want[name] = have
		}
	}
	if !maps.Equal(got, want) {
		w.t.Errorf("%s: the index has %v, want %v", user, got, want)
	}
}

// compareSession asks for something in a mailbox that is open, and hears its news.
func (w *aclWorld) compareSession(o *aclSession) {
	now := w.m.Groups
	w.m.Groups = maps.Clone(now)
	w.m.Groups[o.user] = o.groups
	can := !o.gone && w.m.May(o.user, o.name, "r")
	w.m.Groups = now
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
