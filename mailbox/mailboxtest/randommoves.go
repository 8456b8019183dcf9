package mailboxtest

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// randomNames are the mailboxes that the players know of.
var randomNames = []string{imap.Inbox, "a", "a/b", "a/b/ü", "c", "c/d"}

var randomFlags = []imap.Flag{
	imap.FlagSeen, imap.FlagSeen, imap.FlagDeleted, imap.FlagFlagged, imap.FlagAnswered, "$Label1", "work", "$Own",
}

// game is a random game on two worlds. It looks at the oracle to choose.
type game struct {
	rng            *rand.Rand
	tested, oracle *world
	players        []string
	rights         bool // can be changed in both worlds
}

// play makes a move in one world and tells what came of it.
type play func(*world) string

func (g *game) start() {
	for _, w := range []*world{g.oracle, g.tested} {
		for _, name := range g.players {
			w.join(name)
			w.grant(imap.Inbox, g.players[1:]...)
		}
	}
	_, tested := g.tested.players[ownerPlayer].Account.(mailbox.ACL)
	_, oracle := g.oracle.players[ownerPlayer].Account.(mailbox.ACL)
	g.rights = tested && oracle && len(g.players) > 1
}

func (g *game) name() string { return randomNames[g.rng.IntN(len(randomNames))] }

func (g *game) flags() []imap.Flag {
	var flags []imap.Flag
	for range g.rng.IntN(3) {
		if f := randomFlags[g.rng.IntN(len(randomFlags))]; !imap.HasFlag(flags, f) {
			flags = append(flags, f)
		}
	}
	return flags
}

// uids are some of those that the player was told of, and one that is not there.
func (g *game) uids(p *player) imap.UIDSet {
	out := []imap.UID{9_999}
	for uid := range p.box.Info().UIDs.All() {
		if g.rng.IntN(3) > 0 {
			out = append(out, uid)
		}
	}
	return imap.UIDSetOf(out...)
}

// move chooses what comes next.
func (g *game) move() (string, play) {
	who := g.players[g.rng.IntN(len(g.players))]
	p := g.oracle.players[who]
	if p.box != nil && g.rng.IntN(3) > 0 {
		name, on := g.boxMove(p)
		return who + " " + name, func(w *world) string { return on(w.players[who]) }
	}
	name, on := g.accountMove(who)
	return who + " " + name, func(w *world) string { return on(w.players[who]) }
}

func (g *game) accountMove(who string) (string, func(*player) string) {
	a, b := g.name(), g.name()
	switch n := g.rng.IntN(20); {
	case n < 7:
		return g.appendMove(a)
	case n < 12:
		readOnly := g.rng.IntN(5) == 0
		return fmt.Sprintf("opens %s (read-only %v)", a, readOnly), func(p *player) string { return p.open(a, readOnly) }
	case n < 15:
		return "creates " + a, func(p *player) string {
			err := p.Create(p.Context(), a)
			if err == nil {
				p.grant(a, g.players[1:]...)
			}
			return codeText(err)
		}
	case n < 16:
		return "deletes " + a, func(p *player) string { return codeText(p.Delete(p.Context(), a)) }
	case n < 17 && !(a == imap.Inbox && g.tested.KeptByReader):
		return "renames " + a + " to " + b, func(p *player) string { return codeText(p.Rename(p.Context(), a, b)) }
	case n < 18 && who == ownerPlayer && g.rights:
		return g.rightsMove(a)
	}
	if g.rng.IntN(3) == 0 && !g.tested.KeptByReader {
		return g.modeMove(a)
	}
	subscribed := g.rng.IntN(2) == 0
	return fmt.Sprintf("subscribes %s: %v", a, subscribed), func(p *player) string {
		return codeText(p.SetSubscribed(p.Context(), a, subscribed))
	}
}

// modeMove has a mailbox say whose the private flags are.
func (g *game) modeMove(name string) (string, func(*player) string) {
	mode := []string{"private", "shared", ""}[g.rng.IntN(3)]
	e := imap.MetadataEntry{Name: imap.MetadataPrivateFlags}
	if mode != "" {
		e.Value = []byte(mode)
	}
	return fmt.Sprintf("makes %s %q", name, mode), func(p *player) string {
		m, ok := p.Account.(mailbox.Metadata)
		if !ok {
			return ""
		}
		return codeText(m.SetMetadata(p.Context(), name, []imap.MetadataEntry{e}))
	}
}

func (g *game) appendMove(name string) (string, func(*player) string) {
	var flags [][]imap.Flag
	var texts []string
	for range 1 + g.rng.IntN(3) {
		flags = append(flags, g.flags())
		texts = append(texts, g.text())
	}
	return fmt.Sprintf("appends to %s: %v", name, flags), func(p *player) string {
		var ms []*mailbox.NewMessage
		for i, f := range flags {
			ms = append(ms, newMessage(texts[i], f...))
		}
		data, err := p.Append(p.Context(), name, messages(ms...))
		return codeText(err) + data.UIDs.String()
	}
}

func (g *game) rightsMove(name string) (string, func(*player) string) {
	reader := g.players[1+g.rng.IntN(len(g.players)-1)]
	rights := imap.Rights(g.rng.IntN(int(imap.AllRights) + 1))
	if g.rng.IntN(3) == 0 {
		rights = imap.AllRights
	}
	return fmt.Sprintf("gives %s %s on %s", reader, rights, name), func(p *player) string {
		acl := p.Account.(mailbox.ACL)
		return codeText(acl.SetACL(p.Context(), name, reader, imap.ACLReplace, rights))
	}
}

func (g *game) boxMove(p *player) (string, func(*player) string) {
	uids, dest := g.uids(p), g.name()
	// Whether a command on nothing looks at anything is not for the suite to say.
	nothing := true
	_ = p.box.Fetch(p.Context(), uids, &imap.FetchItems{Size: true}, func(*mailbox.Message) error {
		nothing = false
		return nil
	})
	switch n := g.rng.IntN(25); {
	case n < 6 || nothing || g.tested.KeptByReader && n >= 15 && n < 18:
		return "syncs", (*player).catchUp
	case n < 11:
		return g.storeMove(uids)
	case n < 13:
		return "reads " + uids.String(), func(p *player) string { return p.read(uids) }
	case n < 15:
		all := g.rng.IntN(2) == 0
		return fmt.Sprintf("expunges %s (all %v)", uids, all), func(p *player) string {
			return codeText(p.box.Expunge(p.Context(), uids, all))
		}
	case n < 17:
		return "copies " + uids.String() + " to " + dest, func(p *player) string {
			return copyText(p.box.Copy(p.Context(), uids, dest))
		}
	case n < 18:
		return "moves " + uids.String() + " to " + dest, func(p *player) string {
			return copyText(p.box.Move(p.Context(), uids, dest))
		}
	case n < 19:
		if g.rng.IntN(2) == 0 {
			return "sorts and threads", g.orderMove()
		}
		return "searches", g.searchMove()
	case n < 22:
		return g.modSeqMove()
	case n < 24:
		return g.conditionalMove(uids)
	}
	return "closes", func(p *player) string {
		p.close()
		return ""
	}
}

// copyText leaves open which refusal it is: often there are two reasons, and no
// order in which to look at them.
func copyText(data imap.CopyData, err error) string {
	switch imap.CodeOf(err) {
	case imap.CodeNoPerm, imap.CodeTryCreate, imap.CodeNonExistent:
		return "refused"
	}
	return fmt.Sprintf("%s%s to %s", codeText(err), data.Source, data.Dest)
}

func (g *game) storeMove(uids imap.UIDSet) (string, func(*player) string) {
	change := mailbox.FlagChange{Op: mailbox.FlagOp(g.rng.IntN(3)), Flags: g.flags(), Silent: g.rng.IntN(2) == 0}
	return fmt.Sprintf("stores %+v of %s", change, uids), func(p *player) string {
		var told []fetched
		_, err := p.box.Store(p.Context(), uids, change, func(m *mailbox.Message) error {
			p.hear(m)
			return collect(&told)(m)
		})
		if err != nil || !change.Silent {
			return codeText(err) + flagPicture(told)
		}
		// A silent client takes its change for done, unless it is told.
		for uid := range uids.All() {
			flags, known := p.told[uid]
			heard := slices.ContainsFunc(told, func(m fetched) bool { return m.UID == uid })
			if known && !heard {
				p.told[uid], _ = change.Apply(flags)
			}
		}
		return "done" // which it is told, is free; the next sync shows whether it was enough
	}
}

// read fetches bodies as a client does that shows them.
func (p *player) read(uids imap.UIDSet) string {
	var out []fetched
	items := &imap.FetchItems{MarkSeen: true, Size: true, Sections: []imap.Section{{Kind: imap.SectionText}}}
	err := p.box.Fetch(p.Context(), uids, items, func(m *mailbox.Message) error {
		if m.FlagsChanged {
			p.hear(m)
		}
		return collect(&out)(m)
	})
	text := codeText(err)
	for _, m := range out {
		text += fmt.Sprintf(" %d: %d bytes, changed %v %q", m.UID, m.Size, m.FlagsChanged, m.bodies)
	}
	return text
}

func (g *game) searchMove() func(*player) string {
	key := imap.SearchKey{Op: imap.SearchFlag, Flag: randomFlags[g.rng.IntN(len(randomFlags))]}
	if g.rng.IntN(2) == 0 {
		key = key.Not()
	}
	return func(p *player) string {
		found, err := p.box.Search(p.Context(), &key)
		// A home may know of more than it has told its session.
		return codeText(err) + found.UIDs.Intersect(p.box.Info().UIDs).String()
	}
}

// text is a message that belongs into a thread, mostly.
func (g *game) text() string {
	if g.rng.IntN(4) == 0 {
		return shortMessage
	}
	subject := []string{"", "lunch", "Re: lunch", "dinner", "[list] Dinner (fwd)"}[g.rng.IntN(5)]
	return fmt.Sprintf("Message-ID: <%d@x>\r\nReferences: <%d@x> <%d@x>\r\nSubject: %s\r\nDate: %d Feb 2026 10:00:00 +0000\r\n\r\nSoup.\r\n",
		g.rng.IntN(20), g.rng.IntN(20), g.rng.IntN(20), subject, 1+g.rng.IntN(5))
}

func (g *game) orderMove() func(*player) string {
	flag := imap.SearchKey{Op: imap.SearchFlag, Flag: randomFlags[g.rng.IntN(len(randomFlags))]}
	if g.rng.IntN(2) == 0 {
		flag = flag.Not()
	}
	keys := []imap.SortKey{
		{Field: imap.SortField(g.rng.IntN(int(imap.SortDisplayTo) + 1)), Reverse: g.rng.IntN(2) == 0},
		{Field: imap.SortSubject},
	}
	algorithms := imap.ThreadAlgorithms()
	algorithm := algorithms[g.rng.IntN(len(algorithms))]
	return func(p *player) string {
		// A home may know of more than it has told its session.
		told := imap.SearchKey{Op: imap.SearchUIDs, UIDs: p.box.Info().UIDs}
		program := &imap.SearchKey{Op: imap.SearchAnd, Keys: []imap.SearchKey{told, flag}}
		sorted, err := p.box.Sort(p.Context(), keys, program)
		text := fmt.Sprint(codeText(err), sorted.UIDs)
		list, err := p.box.Thread(p.Context(), algorithm, program)
		return text + codeText(err) + threadText(list)
	}
}
