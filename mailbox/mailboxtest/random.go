package mailboxtest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Random plays steps random operations, which seed decides, on mail from open
// and on mail from oracle, and compares each result and then all that is to be
// seen. The oracle is a home that is known to be right, such as mailboxmem,
// with the same policy around it. Both give the same UIDs to the same messages.
//
// Played are the owner and, if both have readers, bob and carol; if both owners
// are a mailbox.ACL, their rights change too. UIDVALIDITY and modification
// sequences may differ; those of one home must grow as they should. Which
// session gets \Recent depends on when each looks, and is not compared.
//
// Short tests take a third of the steps.
func Random(t *testing.T, open, oracle func(t *testing.T) Fixture, seed uint64, steps int) {
	t.Helper()
	if testing.Short() {
		steps /= 3
	}
	g := &game{
		rng:    rand.New(rand.NewPCG(seed, 1)),
		tested: newWorld(t, open(t)),
		oracle: newWorld(t, oracle(t)),
	}
	g.players = []string{ownerPlayer}
	if g.tested.Reader != nil && g.oracle.Reader != nil {
		g.players = append(g.players, "bob", "carol")
	}
	g.start()
	for step := range steps {
		name, play := g.move()
		want, got := play(g.oracle), play(g.tested)
		if got != want {
			t.Fatalf("seed %d, step %d: %s\ngot  %s\nwant %s", seed, step, name, got, want)
		}
		if got, want := g.tested.picture(), g.oracle.picture(); got != want {
			t.Fatalf("seed %d, step %d: after %s\ngot\n%s\nwant\n%s", seed, step, name, got, want)
		}
	}
}

const ownerPlayer = "owner"

// world is a home with its players' sessions.
type world struct {
	*home
	players map[string]*player
	modSeqs map[string]imap.ModSeq // HIGHESTMODSEQ by player and UIDVALIDITY
}

// player is a user's session, with at most one mailbox open and the flags of
// its messages as that session was told.
type player struct {
	*user
	name string
	box  *box
	told map[imap.UID][]imap.Flag

	// marks are HIGHESTMODSEQ of the mailbox at some times. Homes number their
	// changes as they like, but the n-th mark is of the same moment in all.
	marks []mark
}

func newWorld(t *testing.T, f Fixture) *world {
	return &world{home: &home{T: t, Fixture: f}, players: map[string]*player{}, modSeqs: map[string]imap.ModSeq{}}
}

func (w *world) join(name string) {
	account := w.Fixture.Owner
	if name != ownerPlayer {
		account = func() mailbox.Account { return w.Reader(name) }
	}
	w.players[name] = &player{user: w.session(account()), name: name}
}

// picture is all that the players see, as text.
func (w *world) picture() string {
	var b strings.Builder
	for _, name := range []string{ownerPlayer, "bob", "carol"} {
		p := w.players[name]
		if p == nil {
			continue
		}
		list, err := p.List(w.Context(), []string{"*"})
		fmt.Fprintf(&b, "%s lists %s%v\n", name, codeText(err), listText(list))
		subscribed, err := p.Subscriptions(w.Context())
		fmt.Fprintf(&b, "  subscribed: %s%q\n", codeText(err), subscribed)
		for _, mailboxName := range randomNames {
			s, err := p.Status(w.Context(), mailboxName, imap.StatusMessages|imap.StatusUnseen|imap.StatusUIDNext|imap.StatusUIDValidity|imap.StatusHighestModSeq)
			if err != nil {
				fmt.Fprintf(&b, "  %s: %s\n", mailboxName, codeText(err))
				continue
			}
			w.checkModSeq(name, s)
			fmt.Fprintf(&b, "  %s: %d messages, %d unseen, next %d\n", mailboxName, s.Messages, s.Unseen, s.UIDNext)
		}
	}
	return b.String()
}

func listText(list []mailbox.ListEntry) string {
	var b strings.Builder
	for _, e := range list {
		attrs := slices.Clone(e.Attrs)
		slices.Sort(attrs)
		fmt.Fprintf(&b, " %s%v", e.Name, attrs)
	}
	return b.String()
}

// checkModSeq sees to it that no HIGHESTMODSEQ falls.
func (w *world) checkModSeq(player string, s imap.Status) {
	w.Helper()
	key := fmt.Sprintf("%s %d", player, s.UIDValidity)
	if s.HighestModSeq < w.modSeqs[key] {
		w.Fatalf("HIGHESTMODSEQ of %s fell from %d to %d", player, w.modSeqs[key], s.HighestModSeq)
	}
	w.modSeqs[key] = s.HighestModSeq
}

func codeText(err error) string {
	if err == nil {
		return ""
	}
	e := imap.AsError(err)
	if e.Code == imap.CodeServerBug {
		return err.Error()
	}
	return "[" + string(e.Code) + "] "
}

func flagText(flags []imap.Flag) string {
	names := make([]string, len(flags))
	for i, f := range flags {
		names[i] = strings.ToLower(string(f))
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// open has the player open a mailbox, and take in its flags.
func (p *player) open(name string, readOnly bool) string {
	p.close()
	m, err := p.Account.Open(p.Context(), name, readOnly)
	if err != nil {
		return codeText(err)
	}
	p.box = &box{p.home, m}
	info := m.Info()
	p.told = map[imap.UID][]imap.Flag{}
	p.marks = nil
	p.mark()
	if err := p.learn(info.UIDs); err != nil {
		return codeText(err)
	}
	return fmt.Sprintf("%s, unseen %d, next %d, read-only %v, permanent %s",
		info.UIDs, info.Unseen, info.UIDNext, info.ReadOnly, flagText(info.PermanentFlags)) + p.toldText()
}

func (p *player) close() {
	if p.box != nil {
		p.must(p.box.Close(), "close")
	}
	p.box = nil
}

// learn fetches the flags of messages.
func (p *player) learn(uids imap.UIDSet) error {
	return p.box.Fetch(p.Context(), uids, &imap.FetchItems{Flags: true}, func(m *mailbox.Message) error {
		p.told[m.UID] = slices.Clone(m.Flags)
		return nil
	})
}

// hear takes in what Store and Fetch tell of flags.
func (p *player) hear(m *mailbox.Message) {
	if _, told := p.told[m.UID]; told {
		p.told[m.UID] = slices.Clone(m.Flags)
	}
}

func (p *player) toldText() string {
	var b strings.Builder
	for uid := range p.box.Info().UIDs.All() {
		fmt.Fprintf(&b, "; %d: %s", uid, flagText(p.told[uid]))
	}
	return b.String()
}

// catchUp is a Sync. What the session knows of flags then must be true.
func (p *player) catchUp() string {
	c, err := p.box.Sync(p.Context(), true)
	if err != nil {
		return codeText(err)
	}
	if c.Gone || c.Revoked {
		p.close()
		return fmt.Sprintf("gone %v, revoked %v", c.Gone, c.Revoked)
	}
	for uid := range c.Vanished.All() {
		delete(p.told, uid)
	}
	for i := range c.Flags {
		p.hear(&c.Flags[i])
	}
	for uid := range c.New.All() {
		p.told[uid] = nil
	}
	if err := p.learn(c.New); err != nil {
		return codeText(err)
	}
	if text := p.wrongFlags(); text != "" {
		p.Fatalf("after a sync %s believes what is wrong: %s", p.name, text)
	}
	return fmt.Sprintf("vanished %s, new %s", c.Vanished, c.New) + p.toldText()
}

// wrongFlags compares what the session was told with what is.
func (p *player) wrongFlags() string {
	var wrong []string
	err := p.box.Fetch(p.Context(), p.box.Info().UIDs, &imap.FetchItems{Flags: true}, func(m *mailbox.Message) error {
		if !sameFlags(m.Flags, p.told[m.UID]) {
			wrong = append(wrong, fmt.Sprintf("%d has %v, told %v", m.UID, m.Flags, p.told[m.UID]))
		}
		return nil
	})
	if err != nil {
		return "" // rights were lost in between; commands say so
	}
	return strings.Join(wrong, "; ")
}
