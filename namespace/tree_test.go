package namespace_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
	"github.com/roost-mail/roost/namespace"
)

// site is three users' mail in memory, each behind a guard for whoever acts.
type site struct {
	mails map[string]*mailboxmem.Mail
	index map[string][]string // mailboxes that bob may list, by owner
	vague []string
	down  map[string]bool
	auto  bool // subscribes by itself
}

func newSite(users ...string) *site {
	s := &site{mails: map[string]*mailboxmem.Mail{}, index: map[string][]string{}, down: map[string]bool{}}
	for _, u := range users {
		s.mails[u] = mailboxmem.New(u)
	}
	return s
}

func (s *site) open(owner, acting string) mailbox.Complete {
	if s.down[owner] {
		return &unreachable{}
	}
	home, _ := s.mails[owner].As(acting, acting != owner).(acl.Home)
	return acl.NewGuard(home, acl.Identity{Owner: owner, Acting: acting}, acl.Options{})
}

// unreachable is an owner whose backend is down.
type unreachable struct{ mailbox.Complete }

func (*unreachable) Close() error { return nil }

func (*unreachable) List(context.Context, []string) ([]mailbox.ListEntry, error) {
	return nil, imap.Errorf(imap.CodeUnavailable, "down")
}

func (s *site) Visible(context.Context, string, []string) (map[string][]mailbox.ListEntry, []string, error) {
	out := map[string][]mailbox.ListEntry{}
	for owner, names := range s.index {
		for _, name := range names {
			out[owner] = append(out[owner], mailbox.ListEntry{Name: name, Rights: imap.RightLookup | imap.RightRead})
		}
	}
	return out, s.vague, nil
}

func (s *site) tree(t *testing.T, user string, mode namespace.ListMode) *namespace.Tree {
	t.Helper()
	const root = "shared/"
	tree := namespace.New(namespace.Config{
		User: user, Own: s.open(user, user), Log: slog.New(slog.DiscardHandler),
		Shared: []namespace.Shared{{
			Root: root,
			Match: func(name string) (owner, rest string, ok bool) {
				owner, rest, _ = strings.Cut(strings.TrimPrefix(name, root), "/")
				return owner, rest, owner != ""
			},
			Prefix: func(owner string) string { return root + owner + "/" },
			List:   mode,
			Open:   func(owner string) mailbox.Complete { return s.open(owner, user) },
			Index:  s,

			AutoSubscribe: s.auto,
		}},
	})
	t.Cleanup(func() { tree.Close() })
	return tree
}

func (s *site) grant(t *testing.T, owner, name, reader, rights string) {
	t.Helper()
	alice := s.open(owner, owner)
	defer alice.Close()
	r, err := imap.ParseRights(rights)
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.Create(t.Context(), name); err != nil && imap.CodeOf(err) != imap.CodeAlreadyExists {
		t.Fatal(err)
	}
	if err := alice.SetACL(t.Context(), name, reader, imap.ACLReplace, r); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, a mailbox.Account, name, text string, flags ...imap.Flag) {
	t.Helper()
	_, err := a.Append(t.Context(), name, mailbox.One(&mailbox.NewMessage{Flags: flags, Size: int64(len(text)), Body: strings.NewReader(text)}))
	if err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, tree *namespace.Tree, pattern string) string {
	t.Helper()
	entries, err := tree.List(t.Context(), []string{pattern})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		name := e.Name
		if slices.Contains(e.Attrs, imap.AttrNoSelect) {
			name = "(" + name + ")"
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func TestList(t *testing.T) {
	s := newSite("bob", "alice", "carol", "dave")
	s.index = map[string][]string{"alice": {"Work", "Work/Old"}, "carol": {"INBOX"}, "bob": {"Secret"}}
	s.vague = []string{"dave", "ghost"}
	s.grant(t, "dave", "Plans", "bob", "lr")
	s.mails["ghost"], s.down["ghost"] = nil, true
	tree := s.tree(t, "bob", namespace.ListChildren)
	for _, row := range []struct{ pattern, want string }{
		{"*", "INBOX (shared) (shared/alice) shared/alice/Work shared/alice/Work/Old shared/carol (shared/dave) shared/dave/Plans"},
		{"%", "INBOX (shared)"},
		{"shared/%", "(shared/alice) shared/carol (shared/dave)"},
		{"shared/alice/*", "shared/alice/Work shared/alice/Work/Old"},
		{"inbox", "INBOX"},
		{"shared/bob/*", ""},
	} {
		if got := list(t, tree, row.pattern); got != row.want {
			t.Errorf("LIST %q: %s\nwant %s", row.pattern, got, row.want)
		}
	}
	s.index, s.vague = map[string][]string{}, nil
	if got := list(t, tree, "*"); got != "INBOX" {
		t.Errorf("list = children without children shows %s", got)
	}
	if got := list(t, s.tree(t, "bob", namespace.ListYes), "*"); got != "INBOX (shared)" {
		t.Errorf("list = yes shows %s", got)
	}
}

func TestWhereNamesLead(t *testing.T) {
	s := newSite("bob", "alice")
	s.grant(t, "alice", "Work", "bob", "lr")
	s.grant(t, "alice", "INBOX", "bob", "lr")
	tree := s.tree(t, "bob", namespace.ListChildren)
	if err := tree.Create(t.Context(), "Own"); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		code imap.Code
	}{
		{"inbox", ""},
		{"Own", ""},
		{"shared/alice/Work", ""},
		{"shared/alice", ""},
		{"shared/alice/Inbox", ""},
		{"shared/bob/Own", ""}, // one's own mail, no detour
		{"shared/bob", ""},
		{"shared", imap.CodeNonExistent},
		{"shared/", imap.CodeNonExistent},
		{"shared/alice/Nope", imap.CodeNonExistent},
		{"shared/alice/shared/alice/Work", imap.CodeNonExistent},
	} {
		m, err := tree.Open(t.Context(), row.name, false)
		if imap.CodeOf(err) != row.code {
			t.Errorf("SELECT %s: %v, want %q", row.name, err, row.code)
		}
		if err == nil {
			m.Close()
		}
	}
}

func TestSubscriptionsStayWithTheReader(t *testing.T) {
	s := newSite("bob", "alice")
	s.grant(t, "alice", "Work", "bob", "lr")
	s.grant(t, "alice", "Hidden", "bob", "r")
	tree := s.tree(t, "bob", namespace.ListChildren)
	if err := tree.SetSubscribed(t.Context(), "shared/alice/Work", true); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"shared/alice/Hidden", "shared/alice/Nope", "Nope", "shared"} {
		if err := tree.SetSubscribed(t.Context(), name, true); imap.CodeOf(err) != imap.CodeNonExistent {
			t.Errorf("SUBSCRIBE %s: %v", name, err)
		}
	}
	if got, err := tree.Subscriptions(t.Context()); err != nil || !slices.Equal(got, []string{"shared/alice/Work"}) {
		t.Errorf("bob: %v, %v", got, err)
	}
	if got, _ := s.open("alice", "alice").Subscriptions(t.Context()); len(got) != 0 {
		t.Errorf("alice: %v", got)
	}
	if err := tree.SetSubscribed(t.Context(), "shared/alice/Gone", false); err != nil {
		t.Errorf("UNSUBSCRIBE of what is not there: %v", err)
	}
}

// shown reads a mailbox as one line per message: flags and text.
func shown(t *testing.T, a mailbox.Account, name string) string {
	t.Helper()
	m, err := a.Open(t.Context(), name, true)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var lines []string
	err = m.Fetch(t.Context(), m.Info().UIDs, &imap.FetchItems{Flags: true, Sections: []imap.Section{{Kind: imap.SectionText}}}, func(msg *mailbox.Message) error {
		text, err := io.ReadAll(msg.Sections[0].Body)
		lines = append(lines, strings.TrimSpace(string(text)+" "+strings.Trim(strings.Join(flagStrings(msg.Flags), " "), " ")))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, ", ")
}

func flagStrings(flags []imap.Flag) []string {
	var out []string
	for _, f := range flags {
		out = append(out, string(f))
	}
	slices.Sort(out)
	return out
}

// TestAutoSubscribe has bob be subscribed to what alice shares as long as she does, and
// only if he does not mind.
func TestAutoSubscribe(t *testing.T) {
	ctx := t.Context()
	s := newSite("alice", "bob")
	s.auto = true
	s.down["alice"] = true // nobody asks her
	s.index["alice"] = []string{"Work", "Play"}
	tree := s.tree(t, "bob", namespace.ListYes)
	want := func(names ...string) {
		t.Helper()
		got, err := tree.Subscriptions(ctx)
		if err != nil || !slices.Equal(got, names) {
			t.Errorf("subscribed to %q, want %q; %v", got, names, err)
		}
	}
	set := func(name string, subscribed bool) {
		t.Helper()
		if err := tree.SetSubscribed(ctx, name, subscribed); err != nil {
			t.Error(err)
		}
	}
	want("shared/alice/Play", "shared/alice/Work")
	set("INBOX", true)
	set("shared/alice/Play", false)
	want("INBOX", "shared/alice/Work")
	s.index["alice"] = []string{"Play"}
	want("INBOX")
	set("shared/alice/Play", true)
	want("INBOX", "shared/alice/Play")
	if err := tree.SetMetadata(ctx, "", []imap.MetadataEntry{{Name: "/private/vendor/roost/unsubscribed/x", Value: []byte("y")}}); imap.CodeOf(err) != imap.CodeNoPerm {
		t.Errorf("a client wrote what is not its own: %v", err)
	}
}

func TestCopyAndMoveBetweenOwners(t *testing.T) {
	ctx := context.Background()
	s := newSite("bob", "alice", "carol")
	s.grant(t, "alice", "Work", "bob", "lrswi")
	s.grant(t, "carol", "Play", "bob", "lrswite")
	s.grant(t, "carol", "Drop", "bob", "li")
	put(t, s.open("alice", "alice"), "Work", "Subject: a\r\n\r\none", imap.FlagFlagged)
	put(t, s.open("alice", "alice"), "Work", "Subject: b\r\n\r\ntwo", imap.FlagSeen)
	tree := s.tree(t, "bob", namespace.ListChildren)
	work, err := tree.Open(ctx, "shared/alice/Work", false)
	if err != nil {
		t.Fatal(err)
	}
	defer work.Close()
	data, err := work.Copy(ctx, work.Info().UIDs, "shared/carol/Play")
	if err != nil || data.Source.String() != "1:2" || data.Dest.String() != "1:2" {
		t.Fatalf("COPY: %+v, %v", data, err)
	}
	if data, err = work.Copy(ctx, imap.UIDSetOf(2), "shared/carol/Drop"); err != nil || data.UIDValidity != 0 {
		t.Errorf("COPY where bob may not read: %+v, %v", data, err)
	}
	if _, err = work.Copy(ctx, imap.UIDSetOf(2), "shared/carol/Nope"); imap.CodeOf(err) != imap.CodeTryCreate {
		t.Errorf("COPY to a missing mailbox: %v", err)
	}
	if _, err = work.Move(ctx, imap.UIDSetOf(2), "INBOX"); imap.CodeOf(err) != imap.CodeNoPerm {
		t.Errorf("MOVE without e and t: %v", err)
	}
	if got := shown(t, tree, "INBOX"); got != "" {
		t.Errorf("a refused MOVE copied %s", got)
	}
	play, err := tree.Open(ctx, "shared/carol/Play", false)
	if err != nil {
		t.Fatal(err)
	}
	defer play.Close()
	if _, err = play.Move(ctx, imap.UIDSetOf(1), "INBOX"); err != nil {
		t.Fatal(err)
	}
	if got := shown(t, tree, "INBOX"); got != `one \Flagged` {
		t.Errorf("INBOX: %s", got)
	}
	if got := shown(t, tree, "shared/carol/Play"); got != "two" {
		t.Errorf("Play: %s (alice's \\Seen is not bob's)", got)
	}
}

func TestRenameStaysWithinAnOwner(t *testing.T) {
	s := newSite("bob", "alice")
	s.grant(t, "alice", "Work", "bob", "lrx")
	s.grant(t, "alice", "Hidden", "bob", "x")
	tree := s.tree(t, "bob", namespace.ListChildren)
	for _, row := range []struct {
		from, to string
		code     imap.Code
	}{
		{"shared/alice/Work", "Mine", imap.CodeCannot},
		{"shared/alice/Hidden", "Mine", imap.CodeNonExistent},
		{"shared/alice/Nope", "Mine", imap.CodeNonExistent},
		{"shared/alice/Work", "shared/alice/Other", imap.CodeNoPerm},
		{"shared/alice/Work", "shared", imap.CodeNoPerm},
	} {
		if err := tree.Rename(t.Context(), row.from, row.to); imap.CodeOf(err) != row.code {
			t.Errorf("RENAME %s %s: %v, want %s", row.from, row.to, err, row.code)
		}
	}
}

// failingBody breaks a transfer in the middle.
type failingBody struct{ mailbox.Mailbox }

var errBroken = errors.New("connection lost")

func (f failingBody) Fetch(ctx context.Context, uids imap.UIDSet, items *imap.FetchItems, emit func(*mailbox.Message) error) error {
	n := 0
	return f.Mailbox.Fetch(ctx, uids, items, func(m *mailbox.Message) error {
		if n++; n == 2 {
			return errBroken
		}
		return emit(m)
	})
}

func TestTransferIsAllOrNone(t *testing.T) {
	s := newSite("bob", "alice")
	alice, bob := s.open("alice", "alice"), s.open("bob", "bob")
	put(t, alice, "INBOX", "\r\none")
	put(t, alice, "INBOX", "\r\ntwo")
	m, err := alice.Open(t.Context(), "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	_, _, err = mailbox.Transfer(t.Context(), failingBody{m}, m.Info().UIDs, bob, "INBOX", imap.AllClasses)
	if !errors.Is(err, errBroken) {
		t.Errorf("err = %v", err)
	}
	if got := shown(t, bob, "INBOX"); got != "" {
		t.Errorf("half a transfer arrived: %s", got)
	}
}

// noIndex is an index whose dictionary is away.
type noIndex struct{}

func (noIndex) Visible(context.Context, string, []string) (map[string][]mailbox.ListEntry, []string, error) {
	return nil, nil, errors.New("no route to host")
}

// Whom to observe can't be known without the index, which is told as such.
func TestObserveWithoutIndex(t *testing.T) {
	tree := namespace.New(namespace.Config{
		User: "bob", Own: newSite("bob").open("bob", "bob"), Log: slog.New(slog.DiscardHandler),
		Shared: []namespace.Shared{{Root: "shared/", Index: noIndex{}}},
	})
	defer tree.Close()
	if _, err := tree.Observe(t.Context(), []string{"shared"}, func() {}); imap.CodeOf(err) != imap.CodeUnavailable {
		t.Error(err)
	}
	if stop, err := tree.Observe(t.Context(), nil, func() {}); err != nil {
		t.Error(err)
	} else {
		stop()
	}
}

// counting notes which accounts are open.
type counting struct {
	mailbox.Complete
	open map[string]int
	name string
}

func (c *counting) Close() error {
	c.open[c.name]--
	return c.Complete.Close()
}

func TestAccountsOfOthersAreBounded(t *testing.T) {
	s := newSite("bob")
	open := map[string]int{}
	total := func() (n int) {
		for _, v := range open {
			n += v
		}
		return n
	}
	own := s.open("bob", "bob")
	for i := range 20 { // moves that were interrupted, and of which nothing can be done any more
		err := own.SetMetadata(t.Context(), "", []imap.MetadataEntry{{
			Name:  fmt.Sprintf("/private/vendor/roost/move/%d", i),
			Value: fmt.Appendf(nil, `{"From": "shared/gone%d/INBOX", "To": "shared/first/INBOX"}`, i),
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	tree := namespace.New(namespace.Config{
		User: "bob", Own: own, Moves: namespace.NewMoves(), Log: slog.New(slog.DiscardHandler),
		Shared: []namespace.Shared{{
			Root: "shared/",
			Match: func(name string) (owner, rest string, ok bool) {
				owner, rest, _ = strings.Cut(strings.TrimPrefix(name, "shared/"), "/")
				return owner, rest, owner != ""
			},
			Prefix: func(owner string) string { return "shared/" + owner + "/" },
			Open: func(owner string) mailbox.Complete {
				if s.mails[owner] == nil {
					s.mails[owner] = mailboxmem.New(owner)
				}
				open[owner]++
				return &counting{s.open(owner, owner), open, owner}
			},
			Index: s,
		}},
	})
	m, err := tree.Open(t.Context(), "shared/first/INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	if open["first"] != 1 {
		t.Error("the mailbox was opened from an account that was closed")
	}
	for i := range 100 {
		name := fmt.Sprintf("shared/u%d/INBOX", i)
		if _, err := tree.Status(t.Context(), name, imap.StatusMessages); err != nil {
			t.Fatal(err)
		}
		if total() > 16 {
			t.Fatalf("%d accounts are open", total())
		}
	}
	if open["first"] != 1 {
		t.Error("the account of the open mailbox was closed")
	}
	if _, err := m.Copy(t.Context(), nil, "shared/first/INBOX"); err != nil {
		t.Error(err)
	}
	m.Close()
	tree.Close()
	if total() != 0 {
		t.Errorf("%d accounts stay open: %v", total(), open)
	}
}

// lossy is a peer that leaves a message out and has no body for another.
type lossy struct {
	mailbox.Mailbox
	without imap.UID
}

func (l lossy) Fetch(ctx context.Context, uids imap.UIDSet, items *imap.FetchItems, emit func(*mailbox.Message) error) error {
	return l.Mailbox.Fetch(ctx, uids, items, func(m *mailbox.Message) error {
		switch {
		case m.UID == 2:
			return nil
		case m.UID == l.without:
			m.Sections[0] = mailbox.SectionData{Missing: true}
		}
		return emit(m)
	})
}

func TestMoveRemovesOnlyWhatWasCopied(t *testing.T) {
	ctx := t.Context()
	s := newSite("bob", "alice")
	alice, bob := s.open("alice", "alice"), s.open("bob", "bob")
	for _, text := range []string{"\r\none", "\r\ntwo", "\r\nthree"} {
		put(t, alice, "INBOX", text)
	}
	m, err := alice.Open(ctx, "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, _, err := mailbox.Transfer(ctx, lossy{m, 1}, m.Info().UIDs, bob, "INBOX", imap.AllClasses); err == nil {
		t.Error("a message without a body was copied")
	}
	_, copied, err := mailbox.Transfer(ctx, lossy{m, 0}, m.Info().UIDs, bob, "INBOX", imap.AllClasses)
	if err != nil || copied.String() != "1,3" {
		t.Errorf("copied %s, %v", copied, err)
	}
	if got := shown(t, bob, "INBOX"); got != "one, three" {
		t.Errorf("bob has %s", got)
	}
}
