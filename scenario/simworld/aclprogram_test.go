package simworld

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/acl/acltest"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/namespace"
	"github.com/roost-mail/roost/scenario"
)

var (
	aclSeed = flag.Uint64("acl.seed", 1, "seed of TestACLPrograms; 0: one of the clock")
	aclText = flag.Bool("acl.text", false, "tell what the programs of TestACLPrograms do, also if nothing is wrong")
	aclFor  = flag.Duration("acl.for", 0, "how long TestACLPrograms goes on with other seeds")
)

// aclWorldText is the world of the programs. Its users are owners and readers at once.
const aclWorldText = `
backends b1 b2 b3
directors d1
users 4
start all
settled within 30s
`

// TestACLPrograms has users change rights at random, make, move and delete mailboxes and
// keep others' open, in a cluster where backends die in the middle of that, users move, and
// the dictionary is away. At quiet points a model, of maps and letters, says who may do
// what: MYRIGHTS and LIST of everybody, the sharing index, and mailboxes that were open all
// along have to agree.
func TestACLPrograms(t *testing.T) {
	seed := *aclSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	marker := newMarker(t)
	modes := []bool{true, false}
	if testing.Short() {
		modes = modes[:1]
	}
	for began := time.Now(); ; seed++ {
		for _, live := range modes {
			if !t.Run(fmt.Sprintf("seed=%d,live=%v", seed, live), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { runACLProgram(t, seed, live, marker) })
			}) {
				t.Logf("-acl.seed=%d", seed)
				return
			}
		}
		if time.Since(began) > *aclFor {
			return
		}
	}
}

// program is one that runs. It belongs to the goroutine of the test.
type program struct {
	t      *testing.T
	w      *world
	r      *rand.Rand
	models map[string]*acltest.Model // by owner
	groups map[string][]string       // by user; those of all models

	calm     bool                // nothing befalls anybody
	sessions map[string]*proxied // in which users give commands
	sitting  []*sitter
	faults   []*trouble
	text     []string // what was done, to be read
}

// sitter has a mailbox of an owner's open, in a session of its own.
type sitter struct {
	*proxied
	owner, name string // as it is called now
	box         mailbox.Mailbox
	moved, gone bool // it has another name, or is no more
	could       bool
	term        uint64 // in which the sitter's backend has the sitter
	ownerTerm   uint64 // likewise the owner's
}

// trouble is a fault, and how it is undone.
type trouble struct {
	name     string
	do, undo func() error
}

const (
	aclRounds = 3
	aclSteps  = 8 // in each
)

func runACLProgram(t *testing.T, seed uint64, live bool, marker []byte) {
	s, err := scenario.Parse("acl", aclWorldText)
	if err != nil {
		t.Fatal(err)
	}
	w, end := startWorld(t, s, config{seed: seed, marker: marker, rules: acl.Rules{Inherit: live}})
	p := &program{
		t: t, w: w, r: rand.New(rand.NewPCG(seed, 2)), models: map[string]*acltest.Model{},
		groups: map[string][]string{}, sessions: map[string]*proxied{},
	}
	for _, owner := range w.users {
		p.models[owner] = &acltest.Model{Owner: owner, Live: live, Groups: p.groups, Boxes: map[string]acltest.Lines{"INBOX": nil, "Other": nil}}
	}
	run := scenario.Runner{World: w, Seed: seed}
	if err := run.Run(t.Context(), s); err != nil {
		t.Error(err)
	}
	p.begin()
	for range aclRounds {
		for range aclSteps {
			p.step()
		}
		if p.quiet(); t.Failed() {
			t.Logf("the program:\n%s", strings.Join(p.text, "\n"))
			break
		}
	}
	if *aclText {
		t.Log(strings.Join(p.text, "\n"))
	}
	p.leave(func(*proxied) bool { return true })
	if err := end(); err != nil {
		t.Error(err)
	}
	w.check(t, w.users)
}

// begin has owners share something, while nothing befalls anybody.
func (p *program) begin() {
	p.calm = true
	for _, owner := range p.owners() {
		for _, name := range []string{"a", "a/b", "x"} {
			p.create(owner, owner, name)
			p.setACL(owner, owner, name)
		}
		p.sitDown(p.pick(p.w.users...), owner, "a")
	}
	p.calm = false
}

// owners are those who share.
func (p *program) owners() []string { return p.w.users[:2] }

func (p *program) say(format string, args ...any) {
	p.text = append(p.text, fmt.Sprintf("%6.1fs ", p.w.Now().Seconds())+fmt.Sprintf(format, args...))
}

// wrong is something that can't be.
func (p *program) wrong(format string, args ...any) {
	p.t.Helper()
	p.say("WRONG: "+format, args...)
	p.t.Errorf(format, args...)
}

func (p *program) pick(list ...string) string { return list[p.r.IntN(len(list))] }

func (p *program) below(d time.Duration) time.Duration { return time.Duration(p.r.Int64N(int64(d))) }

func (p *program) letters() string {
	switch p.r.IntN(8) {
	case 0:
		return ""
	case 1, 2:
		return "lr"
	case 3, 4:
		return "lrwsika"
	}
	return imap.Rights(p.r.UintN(uint(imap.AllRights) + 1)).Letters()
}

// step does one thing, as somebody.
func (p *program) step() {
	user := p.pick(p.w.users...)
	owner := p.pick(p.owners()...)
	if p.r.IntN(2) > 0 {
		user = owner
	}
	missing := p.pick("a", "a/b", "a/b/c", "a/d", "x", "x/b", "y")
	name := p.existing(owner, p.pick("l", "", ""), user)
	switch n := p.r.IntN(24); {
	case n < 9:
		p.setACL(user, owner, name)
	case n < 11:
		p.administer(owner, name)
	case n < 13:
		p.create(user, owner, missing)
	case n < 14:
		p.remove(user, owner, name)
	case n < 15:
		p.rename(user, owner, name, missing)
	case n < 16:
		p.setACL(user, owner, missing)
	case n < 20:
		reader := p.pick(p.w.users...)
		p.sitDown(reader, owner, p.existing(owner, "r", reader))
	case n < 21:
		p.regroup(user)
	case n < 23:
		p.befall(p.fault())
	default:
		p.undo()
	}
}

// existing is a mailbox of owner's, if there is one on which user has a right.
func (p *program) existing(owner, right, user string) string {
	m := p.models[owner]
	all := slices.Sorted(maps.Keys(m.Boxes))
	may := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return !strings.Contains(m.Rights(name, user), right) })
	if len(may) > 0 {
		all = may
	}
	return p.pick(all...)
}

// called is what user calls a mailbox of owner's.
func called(user, owner, name string) string {
	switch {
	case user == owner:
		return name
	case name == imap.Inbox:
		return sharedRoot + owner
	}
	return sharedRoot + owner + "/" + name
}

// comesBack is how long a user whose backend has died can be without one.
const comesBack = time.Minute

// login gives a session of user's, the one there is or a new one.
func (p *program) login(user string) *proxied {
	if s := p.sessions[user]; s != nil && !s.isGone() && !s.hasLeft() {
		return s
	}
	delete(p.sessions, user)
	s := p.open(user)
	if s != nil {
		p.sessions[user] = s
	}
	return s
}

func (p *program) open(user string) *proxied {
	ctx, cancel := context.WithTimeout(p.t.Context(), comesBack)
	defer cancel()
	for {
		s, err := p.w.open(ctx, user)
		switch {
		case err == nil:
			return s
		case ctx.Err() != nil:
			p.wrong("%s can't log in: %v", user, err)
			return nil
		}
		p.w.Sleep(ctx, time.Second)
	}
}

// leave ends sessions.
func (p *program) leave(match func(*proxied) bool) {
	for user, s := range p.sessions {
		if match(s) {
			_ = s.Close()
			delete(p.sessions, user)
		}
	}
	p.sitting = slices.DeleteFunc(p.sitting, func(s *sitter) bool {
		if match(s.proxied) {
			_ = s.Close()
			return true
		}
		return false
	})
}

// verdict is how a command came out.
type verdict int

const (
	done verdict = iota
	refused
	notNow
	nobodyKnows
)

func verdictOf(err error) verdict {
	_, answered := errors.AsType[*imap.Error](err)
	switch {
	case err == nil:
		return done
	case errors.Is(err, errMoves):
		return notNow
	case !answered, imap.CodeOf(err) == imap.CodeUnavailable, errors.Is(err, imap.ErrUnknownOutcome):
		return nobodyKnows
	}
	return refused
}

// act has user do something, in which something may befall the cluster, and says whether it
// was done, as change says that the model is then.
func (p *program) act(user, owner, what string, may bool, do func(context.Context, *namespace.Tree) error, change func(*acltest.Model)) bool {
	s := p.login(user)
	if s == nil {
		return false
	}
	at := s.backend.machine.name
	return p.outcome(owner, fmt.Sprintf("%s at %s: %s", user, at, what), may, func(ctx context.Context) error {
		_, err := command(ctx, s, func(ctx context.Context) (struct{}, error) { return struct{}{}, do(ctx, s.mail) })
		return err
	}, change)
}

// commandTime is the longest that anybody waits.
const commandTime = 30 * time.Second

func (p *program) outcome(owner, what string, may bool, do func(context.Context) error, change func(*acltest.Model)) bool {
	var f *trouble
	if !p.calm && p.r.IntN(4) == 0 {
		f = p.fault()
	}
	befallen := make(chan struct{})
	when := p.below(12 * time.Millisecond)
	go func() {
		defer close(befallen)
		if f != nil {
			time.Sleep(when)
			p.befall(f)
		}
	}()
	ctx, cancel := context.WithTimeout(p.t.Context(), commandTime)
	err := do(ctx)
	cancel()
	<-befallen
	v := verdictOf(err)
	p.say("%s: %v", what, err)
	switch {
	case v == done && !may, v == refused && may:
		p.wrong("%s: %v, and the model says %v", what, err, may)
	case v == nobodyKnows && may:
		return p.findOut(owner, change)
	case v == done:
		change(p.models[owner])
		return true
	}
	return false
}

// afterAll is when whatever was under way is done, or will never be.
const afterAll = 15 * time.Second

// findOut looks whether something was done that nobody knows of.
func (p *program) findOut(owner string, change func(*acltest.Model)) bool {
	p.w.Sleep(p.t.Context(), afterAll)
	was := p.models[owner]
	is := was.Clone()
	change(is)
	have := p.stored(owner)
	switch {
	case have == nil:
	case same(have, is.Boxes):
		p.say("  that was done")
		p.models[owner] = is
		return true
	case same(have, was.Boxes):
		p.say("  that was not done")
	default:
		p.wrong("%s's mailboxes are %v; without that %v, with it %v", owner, have, was.Boxes, is.Boxes)
	}
	return false
}

func same(a, b map[string]acltest.Lines) bool {
	return maps.EqualFunc(a, b, func(x, y acltest.Lines) bool { return maps.Equal(x, y) })
}

// holder is the process that serves a user by now; nil if that does not come about.
func (p *program) holder(user string) *process {
	if p.login(user) == nil {
		return nil
	}
	return p.sessions[user].backend.process
}

// stored are an owner's mailboxes with their own entries, past all rules.
func (p *program) stored(owner string) map[string]acltest.Lines {
	at := p.holder(owner)
	if at == nil {
		return nil
	}
	home, err := at.backend.openHome(p.t.Context(), owner)
	if err != nil {
		p.wrong("%s's mail can't be opened: %v", owner, err)
		return nil
	}
	defer home.Close() //nolint:errcheck // never fails
	names, err := home.Mailboxes(p.t.Context())
	boxes := map[string]acltest.Lines{}
	for _, name := range names {
		s, wrong := home.Standing(p.t.Context(), name)
		err = errors.Join(err, wrong)
		lines := acltest.Lines{}
		for _, e := range s.Own {
			lines[map[bool]string{true: "-"}[e.Negative]+e.Identifier] = e.Rights.Letters()
		}
		boxes[name] = lines
	}
	if err != nil {
		p.wrong("%s's mailboxes can't be read: %v", owner, err)
		return nil
	}
	return boxes
}

func (p *program) setACL(user, owner, name string) {
	m := p.models[owner]
	shown := p.pick(append([]string{"anyone", "authenticated", "owner", "$team", "$staff", "!$team", "!$staff"}, p.w.users...)...)
	id := acltest.ID(shown)
	if p.r.IntN(4) == 0 {
		shown, id = "-"+shown, "-"+id
	}
	change, letters := p.pick("=", "=", "+", "-", "x", "x")[0], p.letters()
	if there := slices.Sorted(maps.Keys(m.Lines(name))); change == 'x' && len(there) > 0 {
		id = p.pick(there...)
		shown = acltest.Shown(id)
	}
	rights, err := imap.ParseRights(letters)
	if err != nil {
		p.t.Fatal(err)
	}
	what := fmt.Sprintf("SETACL %s %s %c%s", called(user, owner, name), shown, change, letters)
	p.act(user, owner, what, m.May(user, name, "a"), func(ctx context.Context, mail *namespace.Tree) error {
		if change == 'x' {
			return mail.DeleteACL(ctx, called(user, owner, name), shown)
		}
		return mail.SetACL(ctx, called(user, owner, name), shown, imap.ACLChange(change), rights)
	}, func(m *acltest.Model) { m.Set(name, id, change, letters, user) })
}

// administer does what roost acl set and delete do.
func (p *program) administer(owner, name string) {
	m := p.models[owner]
	if len(m.Boxes[name]) == 0 {
		return // setting what it follows already may make that its own
	}
	id, letters := p.pick("user=user2", "user=user3", "group=team", "anyone"), p.letters()
	edit := acl.Edit{Identifier: id, Change: imap.ACLReplace}
	edit.Grant, _ = imap.ParseRights(letters)
	if p.r.IntN(3) == 0 {
		id, edit.Grant, edit.Deny = "-"+id, 0, edit.Grant
	}
	at := p.holder(owner)
	if at == nil {
		return
	}
	what := fmt.Sprintf("administrator at %s: %s of %s: %s %s", at.machine.name, name, owner, id, letters)
	p.outcome(owner, what, true, func(ctx context.Context) error {
		_, err := ask(ctx, at, func(ctx context.Context) (struct{}, error) {
			home, err := at.backend.openPublishing(ctx, owner, owner)
			if err != nil {
				return struct{}{}, err
			}
			defer home.Close() //nolint:errcheck // never fails
			return struct{}{}, home.UpdateEntries(ctx, name, func(s mailbox.Standing) ([]mailbox.Entry, error) {
				return p.w.rules.Changed(s, func(entries []mailbox.Entry) ([]mailbox.Entry, error) {
					if letters == "" {
						bare := edit.Identifier
						return acl.Without(acl.Without(entries, bare, false), bare, true), nil
					}
					return edit.Apply(entries), nil
				})
			})
		}, func(struct{}) {})
		return err
	}, func(m *acltest.Model) { m.Administer(name, id, letters) })
}

func (p *program) create(user, owner, name string) {
	m := p.models[owner]
	at := called(user, owner, name)
	p.act(user, owner, "CREATE "+at, !m.Has(name) && m.MayCreate(name, user),
		func(ctx context.Context, mail *namespace.Tree) error { return mail.Create(ctx, at) },
		func(m *acltest.Model) { m.Create(name) })
}

func (p *program) remove(user, owner, name string) {
	m := p.models[owner]
	at := called(user, owner, name)
	if p.act(user, owner, "DELETE "+at, name != imap.Inbox && m.May(user, name, "x"),
		func(ctx context.Context, mail *namespace.Tree) error { return mail.Delete(ctx, at) },
		func(m *acltest.Model) { delete(m.Boxes, name) }) {
		for _, s := range p.sitting {
			s.gone = s.gone || s.owner == owner && s.name == name
		}
	}
}

func (p *program) rename(user, owner, from, to string) {
	if from == imap.Inbox || to == from || strings.HasPrefix(to, from+"/") {
		return
	}
	m := p.models[owner]
	moves, free := m.Renamed(from, to)
	may := free && m.May(user, from, "x") && m.MayCreate(to, user)
	if p.act(user, owner, "RENAME "+called(user, owner, from)+" "+called(user, owner, to), may,
		func(ctx context.Context, mail *namespace.Tree) error {
			return mail.Rename(ctx, called(user, owner, from), called(user, owner, to))
		}, func(m *acltest.Model) { m.Rename(from, to) }) {
		for _, s := range p.sitting {
			if renamed, is := moves[s.name]; is && s.owner == owner && !s.gone {
				s.name, s.moved = renamed, true
			}
		}
	}
}

// regroup has a user be in other groups, who then logs in again.
func (p *program) regroup(user string) {
	p.leave(func(s *proxied) bool { return s.user == user })
	groups := []string{"team", "staff"}[:p.r.IntN(3)]
	p.groups[user] = groups
	p.w.setGroups(user, groups)
	p.say("%s logs out, and is in %v", user, groups)
}

// maxSitting bounds how many mailboxes are open, besides for commands.
const maxSitting = 6

// sitDown has a user open a mailbox, in place of whoever has sat longest.
func (p *program) sitDown(user, owner, name string) {
	s := p.open(user)
	if s == nil {
		return
	}
	at := called(user, owner, name)
	sits := &sitter{proxied: s, owner: owner, name: name, could: true, term: p.term(user), ownerTerm: p.term(owner)}
	ctx, cancel := context.WithTimeout(p.t.Context(), commandTime)
	defer cancel()
	var err error
	sits.box, err = command(ctx, s, func(ctx context.Context) (mailbox.Mailbox, error) {
		m, err := s.mail.Open(ctx, at, false)
		if err == nil {
			s.open[at] = m // to be closed with the session
		}
		return m, err
	})
	p.say("%s at %s: SELECT %s: %v", user, s.backend.machine.name, at, err)
	may := p.models[owner].May(user, name, "r")
	switch v := verdictOf(err); {
	case v == done && !may, v == refused && may:
		p.wrong("%s: SELECT %s: %v, and the model says %v", user, at, err, may)
	case v == done:
		if p.sitting = append(p.sitting, sits); len(p.sitting) > maxSitting {
			_ = p.sitting[0].Close()
			p.sitting = p.sitting[1:]
		}
		return
	}
	_ = s.Close()
}

// term is that in which the backend which serves a user does.
func (p *program) term(user string) uint64 {
	p.w.monitor.mu.Lock()
	defer p.w.monitor.mu.Unlock()
	return p.w.monitor.last[user].epoch
}
