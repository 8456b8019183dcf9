package simworld

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/scenario"
)

// fault picks one. It has not happened yet.
func (p *program) fault() *trouble {
	name := p.pick(p.w.backends...)
	m := p.w.machines[name]
	user := p.pick(p.w.users...)
	switch p.r.IntN(8) {
	case 0, 1:
		return &trouble{"kill " + name, m.kill, m.start}
	case 2:
		return &trouble{"term " + name, m.term, m.start}
	case 3:
		return &trouble{"cut " + name, func() error { return m.cutOff(true) }, func() error { return m.cutOff(false) }}
	case 4:
		return &trouble{"drain " + name, func() error { return p.wish(name, "drain") }, func() error { return p.wish(name, "up") }}
	case 5:
		return &trouble{
			"the dictionary is away", func() error { p.w.dictionary.away.Store(true); return nil },
			func() error { p.w.dictionary.away.Store(false); return nil },
		}
	}
	return &trouble{"move " + user + " to " + name, func() error { return p.pin(user, name) }, func() error { return nil }}
}

// befall has a fault happen, if not everything is in trouble then.
func (p *program) befall(f *trouble) {
	if len(p.faults) > 1 {
		return
	}
	p.say("  %s", f.name)
	p.faults = append(p.faults, f)
	if err := f.do(); err != nil {
		p.wrong("%s: %v", f.name, err)
	}
}

// undo undoes all faults.
func (p *program) undo() {
	for _, f := range p.faults {
		p.say("  no more: %s", f.name)
		if err := f.undo(); err != nil {
			p.wrong("undo %s: %v", f.name, err)
		}
	}
	p.faults = nil
}

func (p *program) wish(backend string, state cluster.State) error {
	return p.commit(func(m *cluster.Map) (cluster.Txn, error) {
		n, _ := m.Node(backend)
		return cluster.SetWish(backend, cluster.Wish{State: state, Weight: cluster.DefaultWeight}, n.WishAt)
	})
}

func (p *program) pin(user, backend string) error {
	return p.commit(func(m *cluster.Map) (cluster.Txn, error) {
		_, at := m.Pin(user)
		return cluster.SetPin(user, cluster.Pin{Backend: backend}, at)
	})
}

// commit tries until what the map says is not old.
func (p *program) commit(txn func(*cluster.Map) (cluster.Txn, error)) error {
	for range 50 {
		var t cluster.Txn
		var err error
		p.w.view.Read(func(m *cluster.Map) { t, err = txn(m) })
		if err != nil {
			return err
		}
		if _, ok, err := p.w.admin.Commit(context.Background(), t); ok || err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errors.New("it does not come about")
}

// quietTime is how long it takes at most until all is as it should be: the longest pause
// of a publisher that has failed, and some more.
const quietTime = 3 * time.Minute

// quiet has the cluster come to rest, and compares.
func (p *program) quiet() {
	p.undo()
	ctx, cancel := context.WithTimeout(p.t.Context(), quietTime)
	defer cancel()
	for {
		p.w.Sleep(ctx, time.Second) // until all know what is wished
		if err := scenario.Settled(ctx, p.w.view); err != nil {
			p.wrong("%v", err)
			return
		}
		for _, user := range p.w.users { // who may just have moved
			p.login(user)
		}
		what, err := p.w.Drift(ctx)
		if err == nil && what == "" {
			break
		}
		if ctx.Err() != nil {
			p.wrong("the index is wrong: %s %v", what, err)
			return
		}
	}
	p.say("quiet")
	for _, user := range p.w.users {
		p.compare(user)
	}
	for _, owner := range p.w.users {
		if have := p.stored(owner); have != nil && !same(have, p.models[owner].Boxes) {
			p.wrong("%s's mailboxes are %v, want %v", owner, have, p.models[owner].Boxes)
		}
	}
	p.sitting = slices.DeleteFunc(p.sitting, func(s *sitter) bool { return !p.compareSitter(s) })
}

// again gives a command that may find that its mail has left, which the next one does not.
func again[T any](ctx context.Context, s *proxied, do func(context.Context) (T, error)) (T, error) {
	value, err := command(ctx, s, do)
	if imap.CodeOf(err) == imap.CodeUnavailable {
		return command(ctx, s, do)
	}
	return value, err
}

// compare looks what a user may do, and sees.
func (p *program) compare(user string) {
	s := p.login(user)
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*commandTime)
	defer cancel()
	all, err := again(ctx, s, func(ctx context.Context) ([]mailbox.ListEntry, error) { return s.mail.List(ctx, []string{"*"}) })
	if err != nil {
		p.wrong("%s: LIST: %v", user, err)
	}
	listed, wanted := map[string]bool{}, map[string]bool{}
	for _, e := range all {
		if e.Rights != 0 {
			listed[e.Name] = true
		}
	}
	for _, owner := range p.w.users {
		m := p.models[owner]
		for name := range m.Boxes {
			want := m.Rights(name, user)
			at := called(user, owner, name)
			if strings.Contains(want, "l") {
				wanted[at] = true
			}
			have, err := again(ctx, s, func(ctx context.Context) (imap.Rights, error) { return s.mail.MyRights(ctx, at) })
			if strings.ContainsAny(want, "lrikxa") {
				if err != nil || have.Letters() != want {
					p.wrong("%s at %s: MYRIGHTS %s, of %v: %s, %v, want %s", user, s.backend.machine.name, at, m.Lines(name), have.Letters(), err, want)
				}
			} else if imap.CodeOf(err) != imap.CodeNonExistent {
				p.wrong("%s: MYRIGHTS %s: %s, %v, want nothing", user, at, have.Letters(), err)
			}
		}
	}
	if !maps.Equal(listed, wanted) {
		p.wrong("%s: LIST shows %v, want %v", user, slices.Sorted(maps.Keys(listed)), slices.Sorted(maps.Keys(wanted)))
	}
}

// compareSitter asks for something in a mailbox that was open all along, and hears its news. It
// says whether the sitter still sits.
func (p *program) compareSitter(s *sitter) bool {
	if s.isGone() || s.hasLeft() {
		if p.term(s.user) == s.term && s.backend.machine.current() == s.backend.process {
			p.wrong("%s has lost the session with %s of %s, and nobody has moved", s.user, s.name, s.owner)
		}
		_ = s.Close()
		return false
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), commandTime)
	defer cancel()
	can := !s.gone && p.models[s.owner].May(s.user, s.name, "r")
	c, err := again(ctx, s.proxied, func(ctx context.Context) (mailbox.Changes, error) { return s.box.Sync(ctx, true) })
	if s.could && !can && !c.Revoked && !c.Gone && imap.CodeOf(err) != imap.CodeNonExistent {
		p.wrong("%s, who had %s of %s open, hears %+v, %v", s.user, s.name, s.owner, c, err)
	}
	_, err = again(ctx, s.proxied, func(ctx context.Context) (mailbox.Found, error) { return s.box.Search(ctx, &imap.SearchKey{}) })
	code := imap.CodeOf(err)
	stayed := p.term(s.owner) == s.ownerTerm && !s.gone && !s.moved
	switch {
	case can && err == nil, !can && code == imap.CodeNoPerm:
	case !can && code == imap.CodeNonExistent && !stayed: // when it is opened anew nobody may know that it is there
	case can && code == imap.CodeNonExistent && s.moved && p.term(s.owner) != s.ownerTerm: // its old name leads nowhere
	default:
		p.wrong("%s, who has %s of %s open: %v; may read it: %v", s.user, s.name, s.owner, err, can)
	}
	p.say("%s sits at %s of %s: %v", s.user, s.name, s.owner, err)
	s.could = can
	return code != imap.CodeNonExistent
}
