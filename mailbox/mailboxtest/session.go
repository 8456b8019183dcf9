package mailboxtest

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// home is a Fixture in one test. Its helpers end the test if something fails
// that should work.
type home struct {
	*testing.T
	Fixture
}

// user is a session of a user.
type user struct {
	*home
	mailbox.Account
}

// box is a mailbox that a user has open.
type box struct {
	*home
	mailbox.Mailbox
}

func (h *home) must(err error, doing string) {
	h.Helper()
	if err != nil {
		h.Fatalf("%s: %v", doing, err)
	}
}

func (h *home) wantCode(err error, want imap.Code, doing string) {
	h.Helper()
	if err == nil || imap.CodeOf(err) != want {
		h.Fatalf("%s: got %v, want code %s", doing, err, want)
	}
}

func (h *home) wantUIDs(got imap.UIDSet, want string, what string) {
	h.Helper()
	if got.String() != want {
		h.Fatalf("%s: got UIDs %q, want %q", what, got, want)
	}
}

func (h *home) owner() *user { return h.session(h.Fixture.Owner()) }

func (h *home) reader(name string) *user { return h.session(h.Reader(name)) }

func (h *home) session(a mailbox.Account) *user {
	h.Cleanup(func() {
		if err := a.Close(); err != nil {
			h.Errorf("close account: %v", err)
		}
	})
	return &user{h, a}
}

func (h *home) needModSeq() {
	h.Helper()
	if h.NoModSeq {
		h.T.Skip("no modification sequences here")
	}
}

// grant lets readers use a mailbox.
func (h *home) grant(name string, readers ...string) {
	h.Helper()
	for _, r := range readers {
		if h.Grant != nil {
			h.Grant(h.T, name, r)
		}
	}
}

func (u *user) create(names ...string) {
	u.Helper()
	for _, n := range names {
		u.must(u.Create(u.Context(), n), "create "+n)
	}
}

// names lists all mailboxes that exist.
func (u *user) names() []string {
	u.Helper()
	list, err := u.List(u.Context(), []string{"*"})
	u.must(err, "list")
	var names []string
	for _, e := range list {
		if !slices.Contains(e.Attrs, imap.AttrNoSelect) {
			names = append(names, e.Name)
		}
	}
	return names
}

// add appends messages with the same flags, each by a call of its own.
func (u *user) add(name string, bodies []string, flags ...imap.Flag) imap.UIDSet {
	u.Helper()
	var uids imap.UIDSet
	for _, b := range bodies {
		data, err := u.Append(u.Context(), name, mailbox.One(newMessage(b, flags...)))
		u.must(err, "append to "+name)
		uids = uids.Union(data.UIDs)
	}
	return uids
}

func newMessage(body string, flags ...imap.Flag) *mailbox.NewMessage {
	return &mailbox.NewMessage{Flags: flags, InternalDate: someDate, Size: int64(len(body)), Body: strings.NewReader(body)}
}

// open selects a mailbox.
func (u *user) open(name string) *box {
	u.Helper()
	return u.openAs(name, false)
}

// examine opens a mailbox to read only.
func (u *user) examine(name string) *box {
	u.Helper()
	return u.openAs(name, true)
}

func (u *user) openAs(name string, readOnly bool) *box {
	u.Helper()
	m, err := u.Account.Open(u.Context(), name, readOnly)
	u.must(err, "open "+name)
	u.Cleanup(func() {
		if err := m.Close(); err != nil {
			u.Errorf("close %s: %v", name, err)
		}
	})
	return &box{u.home, m}
}

func (u *user) status(name string) imap.Status {
	u.Helper()
	const all = imap.StatusMessages | imap.StatusRecent | imap.StatusUIDNext |
		imap.StatusUIDValidity | imap.StatusUnseen | imap.StatusHighestModSeq |
		imap.StatusSize | imap.StatusDeleted | imap.StatusDeletedStorage
	s, err := u.Status(u.Context(), name, all)
	u.must(err, "status of "+name)
	return s
}

// withMail is the owner with a new mailbox Work that holds n short messages.
func (h *home) withMail(n int, flags ...imap.Flag) (*user, *box) {
	h.Helper()
	o := h.owner()
	o.create("Work")
	o.add("Work", slices.Repeat([]string{shortMessage}, n), flags...)
	return o, o.open("Work")
}

// fetched is a mailbox.Message that was copied and read to its end.
type fetched struct {
	mailbox.Message
	bodies []string // of Sections
}

func (b *box) fetch(uids imap.UIDSet, items *imap.FetchItems) []fetched {
	b.Helper()
	var out []fetched
	err := b.Fetch(b.Context(), uids, items, collect(&out))
	b.must(err, "fetch")
	return out
}

// fetchOne fetches a message that is there.
func (b *box) fetchOne(uid imap.UID, items *imap.FetchItems) fetched {
	b.Helper()
	got := b.fetch(imap.UIDSetOf(uid), items)
	if len(got) != 1 || got[0].UID != uid {
		b.Fatalf("fetch of %d: got %+v", uid, got)
	}
	return got[0]
}

// section fetches one section of a message that is there.
func (b *box) section(uid imap.UID, s imap.Section) (body string, missing bool) {
	b.Helper()
	got := b.fetchOne(uid, &imap.FetchItems{Sections: []imap.Section{s}})
	if len(got.bodies) != 1 {
		b.Fatalf("fetch of a section: got %d sections", len(got.bodies))
	}
	return got.bodies[0], got.Sections[0].Missing
}

// collect copies what it is given.
func collect(out *[]fetched) func(*mailbox.Message) error {
	return func(m *mailbox.Message) error {
		f := fetched{Message: *m}
		f.Flags = slices.Clone(m.Flags)
		f.Envelope, f.Body = bytes.Clone(m.Envelope), bytes.Clone(m.Body)
		f.BodyStructure = bytes.Clone(m.BodyStructure)
		f.Sections = slices.Clone(m.Sections)
		for _, s := range m.Sections {
			body, err := readSection(s)
			if err != nil {
				return err
			}
			f.bodies = append(f.bodies, body)
		}
		*out = append(*out, f)
		return nil
	}
}

func readSection(s mailbox.SectionData) (string, error) {
	if s.Missing {
		return "", nil
	}
	body, err := io.ReadAll(s.Body)
	if err == nil && int64(len(body)) != s.Size {
		err = io.ErrUnexpectedEOF
	}
	return string(body), err
}

// wantFlags checks the flags of a message, in any order.
func (b *box) wantFlags(uid imap.UID, want ...imap.Flag) {
	b.Helper()
	got := b.fetchOne(uid, &imap.FetchItems{Flags: true}).Flags
	if !sameFlags(got, want) {
		b.Fatalf("flags of message %d: got %v, want %v", uid, got, want)
	}
}

func sameFlags(a, b []imap.Flag) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(f imap.Flag) bool { return !imap.HasFlag(b, f) })
}

func (b *box) store(uids imap.UIDSet, op mailbox.FlagOp, flags ...imap.Flag) []fetched {
	b.Helper()
	var out []fetched
	_, err := b.Store(b.Context(), uids, mailbox.FlagChange{Op: op, Flags: flags}, collect(&out))
	b.must(err, "store")
	return out
}

func (b *box) storeSilent(uids imap.UIDSet, op mailbox.FlagOp, flags ...imap.Flag) {
	b.Helper()
	change := mailbox.FlagChange{Op: op, Flags: flags, Silent: true}
	_, err := b.Store(b.Context(), uids, change, func(m *mailbox.Message) error {
		b.Errorf("silent store tells of message %d", m.UID)
		return nil
	})
	b.must(err, "store")
}

// sync asks for what happened, as NOOP does.
func (b *box) sync() mailbox.Changes {
	b.Helper()
	c, err := b.Sync(b.Context(), true)
	b.must(err, "sync")
	return c
}

// wantQuiet checks that there is nothing to tell.
func (b *box) wantQuiet() {
	b.Helper()
	if c := b.sync(); !c.Empty() {
		b.Fatalf("sync: got %+v, want nothing", c)
	}
}

func (b *box) search(k imap.SearchKey) imap.UIDSet {
	b.Helper()
	found, err := b.Search(b.Context(), &k)
	b.must(err, "search")
	return found.UIDs
}

func (b *box) expunge(uids imap.UIDSet, all bool) {
	b.Helper()
	b.must(b.Expunge(b.Context(), uids, all), "expunge")
}

// patience is how long something may take that comes from elsewhere. It is
// only waited for in full by a test that fails.
const patience = 20 * time.Second

func (h *home) await(what string, done <-chan struct{}) {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), patience)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
		h.Fatalf("%s did not happen", what)
	}
}

func uids(u ...imap.UID) imap.UIDSet { return imap.UIDSetOf(u...) }
