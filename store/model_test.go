package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
)

// home is what the model and the store have in common.
type home interface {
	mailbox.Account
	mailbox.EntryKeeper
}

// users are alice, who owns the mail, and bob, who has a \Seen of his own.
type users [2]home

// op is an operation that can be done again on another home.
type op struct {
	name    string
	durable bool // an OK of it survives power loss
	run     func(users) error
}

var opNames = []string{"INBOX", "A", "B", "A/x", "INBOX"}

// randomOp makes an operation. n tells its message from others.
func randomOp(rnd *rand.Rand, n int) op {
	ctx := context.Background()
	pick := func() string { return opNames[rnd.IntN(len(opNames))] }
	name, dest, who := pick(), pick(), rnd.IntN(2)
	first := imap.UID(1 + rnd.IntN(6))
	uids := imap.UIDRange(first, first+imap.UID(rnd.IntN(5)))
	flags := [][]imap.Flag{{}, {imap.FlagSeen}, {imap.FlagDeleted}, {imap.FlagFlagged, "$One"}, {imap.FlagSeen, imap.FlagDeleted, "two"}}[rnd.IntN(5)]
	on := func(u users, do func(mailbox.Mailbox) error) error {
		m, err := u[who].Open(ctx, name, false)
		if err != nil {
			return err
		}
		return errors.Join(do(m), m.Close())
	}
	switch k := rnd.IntN(23); {
	case k < 6:
		return op{fmt.Sprintf("append %d %d %s %v", who, n, name, flags), true, func(u users) error {
			_, err := u[who].Append(ctx, name, newMailAt(n, flags))
			return err
		}}
	case k < 10:
		change := mailbox.FlagChange{Op: mailbox.FlagOp(rnd.IntN(3)), Flags: flags, Silent: true}
		return op{fmt.Sprintf("store %d %s %s %v", who, name, uids, change), false, func(u users) error {
			return on(u, func(m mailbox.Mailbox) error {
				_, err := m.Store(ctx, uids, change, nil)
				return err
			})
		}}
	case k < 11:
		return op{fmt.Sprintf("expunge %s %s", name, uids), true, func(u users) error {
			return on(u, func(m mailbox.Mailbox) error { return m.Expunge(ctx, uids, false) })
		}}
	case k < 13:
		return op{fmt.Sprintf("copy %s %s %s", name, uids, dest), true, func(u users) error {
			return on(u, func(m mailbox.Mailbox) error { _, err := m.Copy(ctx, uids, dest); return err })
		}}
	case k < 15:
		return op{fmt.Sprintf("move %s %s %s", name, uids, dest), true, func(u users) error {
			return on(u, func(m mailbox.Mailbox) error { _, err := m.Move(ctx, uids, dest); return err })
		}}
	case k < 16:
		return op{"create " + name, true, func(u users) error { return u[0].Create(ctx, name) }}
	case k < 17 && rnd.IntN(2) == 0:
		return op{"delete " + name, true, func(u users) error { return u[0].Delete(ctx, name) }}
	case k < 18:
		return op{"rename " + name + " " + dest, true, func(u users) error { return u[0].Rename(ctx, name, dest) }}
	case k < 19:
		on := rnd.IntN(2) == 0
		return op{fmt.Sprintf("subscribe %d %s %v", who, name, on), true, func(u users) error { return u[who].SetSubscribed(ctx, name, on) }}
	case k < 21:
		e := imap.MetadataEntry{Name: imap.MetadataPrivateFlags}
		if mode := []string{"private", "shared", ""}[rnd.IntN(3)]; mode != "" {
			e.Value = []byte(mode)
		}
		return op{fmt.Sprintf("mode %d %s %s", who, name, e.Value), true, func(u users) error {
			m, _ := u[who].(mailbox.Metadata)
			return m.SetMetadata(ctx, name, []imap.MetadataEntry{e})
		}}
	case k < 22 && rnd.IntN(2) == 0:
		return op{forgetsBob, true, forgetBob}
	default:
		return op{"acl " + name, true, func(u users) error {
			return u[0].UpdateEntries(ctx, name, func(mailbox.Standing) ([]mailbox.Entry, error) {
				return []mailbox.Entry{{Identifier: fmt.Sprintf("user=u%d", n), Rights: imap.RightRead}}, nil
			})
		}}
	}
}

const forgetsBob = "forget bob"

// forgetBob has bob lose all access, for long enough. He opens nothing meanwhile.
func forgetBob(u users) error {
	ctx := context.Background()
	switch a := u[0].(type) {
	case interface{ Forget(reader string) }:
		a.Forget("bob")
	case *Session:
		for range 2 {
			_, err := a.ForgetLost(ctx, 0, func(context.Context, mailbox.Standing, string) (bool, error) { return false, nil })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func newMailAt(n int, flags []imap.Flag) mailbox.NextMessage {
	text := mail(n)
	return mailbox.One(&mailbox.NewMessage{
		Flags: flags, Size: int64(len(text)), Body: strings.NewReader(text),
		InternalDate: time.Unix(1e9+int64(n)*3600, 0).UTC(),
	})
}

// describe is all that both users can see, but for UIDVALIDITY and
// modification sequences.
func describe(t testing.TB, u users) string {
	t.Helper()
	ctx := context.Background()
	var out bytes.Buffer
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	names, err := u[0].Mailboxes(ctx)
	must(err)
	for who, a := range u {
		subs, err := a.Subscriptions(ctx)
		must(err)
		fmt.Fprintf(&out, "user %d subscribed %q\n", who, subs)
		for _, name := range names {
			status, err := a.Status(ctx, name, imap.StatusUnseen|imap.StatusMessages)
			must(err)
			standing, err := a.Standing(ctx, name)
			must(err)
			annotated, _ := a.(mailbox.Metadata)
			mode, err := annotated.GetMetadata(ctx, name, &imap.MetadataQuery{Names: []string{imap.MetadataPrivateFlags}, MaxSize: -1})
			must(err)
			fmt.Fprintf(&out, "%s %d messages, %d unseen, next %d, acl %v, mode %s\n",
				name, status.Messages, status.Unseen, status.UIDNext, standing.Own, mode.Entries[0].Value)
			m, err := a.Open(ctx, name, true)
			must(err)
			items := &imap.FetchItems{Flags: true, Size: true, InternalDate: true, Sections: []imap.Section{{}}}
			must(m.Fetch(ctx, imap.UIDRange(1, 1<<32-1), items, func(m *mailbox.Message) error {
				var body bytes.Buffer
				if _, err := body.ReadFrom(m.Sections[0].Body); err != nil {
					return err
				}
				fmt.Fprintf(&out, " %d %s %d %s %08x\n", m.UID, sortedFlags(m.Flags), m.Size, m.InternalDate.UTC(), checksum(body.Bytes()))
				return nil
			}))
			must(m.Close())
		}
	}
	return out.String()
}

func sortedFlags(flags []imap.Flag) string {
	var out []string
	for _, f := range append(imap.SystemFlags(), "$One", "two") {
		if imap.HasFlag(flags, f) {
			out = append(out, string(f))
		}
	}
	return strings.Join(out, " ")
}

// modelPrivate are the flags that bob has for himself.
var modelPrivate = []imap.Flag{imap.FlagSeen, imap.FlagFlagged, "two"}

// modelUsers is the model after ops.
func modelUsers(ops []op) users {
	m := mailboxmem.New("alice")
	m.SetPrivateFlags(modelPrivate...)
	u := users{m.As("alice", true).(home), m.As("bob", true).(home)}
	for _, o := range ops {
		_ = o.run(u)
	}
	return u
}

// world is a store on a memFS beside its model.
type world struct {
	t       *testing.T
	rnd     *rand.Rand
	fs      *memFS
	store   *Store
	users   users
	model   users
	done    []op // what the model has done
	durable int  // how many of done must not be lost in a power loss
	next    int
	keep    time.Duration // Options.ExpungeKeep
	tight   bool          // memory and files are taken back after every step
}

func (w *world) options() Options {
	o := testOptions(w.t)
	o.FS = w.fs
	o.limits = limits{segment: 4 << 10, foldBytes: 3 << 10, foldRecords: 12}
	o.Log, o.ExpungeKeep = nil, w.keep
	return o
}

func (w *world) open() {
	w.t.Helper()
	w.store = New(w.options())
	for i, name := range []string{"alice", "bob"} {
		a, err := w.store.Open(context.Background(), "alice", "/mail")
		if err != nil {
			w.t.Fatalf("open: %v", err)
		}
		w.users[i] = a.As(View{Acting: name, PrivateFlags: modelPrivate, PrivateSeen: true})
		a.Close() //nolint:errcheck // the session has its own reference
	}
}

// compare checks that the store holds what one of the prefixes of done, and
// perhaps extra, lead to, and goes on from there.
func (w *world) compare(least int, extra *op) {
	w.t.Helper()
	got := describe(w.t, w.users)
	ops := w.done
	if extra != nil {
		ops = append(ops[:len(ops):len(ops)], *extra)
	}
	want := ""
	for n := len(ops); n >= least; n-- {
		want = describe(w.t, modelUsers(ops[:n]))
		if got == want {
			w.done, w.durable, w.model = ops[:n:n], n, modelUsers(ops[:n])
			return
		}
	}
	w.t.Fatalf("after %sleast %d, extra %v: store has\n%s\nmodel has\n%s", opList(ops), least, extra != nil, got, describe(w.t, modelUsers(ops)))
}

func opList(ops []op) string {
	var b strings.Builder
	for _, o := range ops {
		b.WriteString(o.name + "\n")
	}
	return b.String()
}

// step does one operation. It reports the operation if its outcome is unknown.
func (w *world) step() *op {
	w.t.Helper()
	w.next++
	o := randomOp(w.rnd, w.next)
	err := o.run(w.users)
	if w.tight {
		squeeze(w.store)
	}
	if code := imap.CodeOf(err); code == imap.CodeUnavailable || code == imap.CodeOverQuota { // of a full disk
		return &o
	}
	w.done = append(w.done, o)
	before := describe(w.t, w.model)
	if want := o.run(w.model); imap.CodeOf(err) != imap.CodeOf(want) {
		w.t.Fatalf("%s\n%s: got %v, want %v", opList(w.done), o.name, err, want)
	}
	// What changes nothing syncs nothing.
	if o.durable && err == nil && describe(w.t, w.model) != before {
		w.durable = len(w.done)
	}
	return nil
}

// TestModel does random operations on the store and on the model, and ends the
// process at random places, with and without power loss.
func TestModel(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 8
	}
	for seed := range rounds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := &world{t: t, rnd: rand.New(rand.NewPCG(uint64(seed), 1)), fs: newMemFS(), model: modelUsers(nil)}
			w.keep = time.Duration(seed%2) * time.Hour
			w.tight = seed%4 < 2
			w.open()
			for range 6 {
				w.life()
			}
			w.compare(len(w.done), nil)
			w.end(false, nil)
		})
	}
}

// life does some operations and ends: by a clean close, or by a crash.
func (w *world) life() {
	w.t.Helper()
	clean := w.rnd.IntN(3) == 0
	if !clean {
		w.fs.mu.Lock()
		w.fs.freezeAt = w.fs.ops + 1 + w.rnd.IntN(60)
		w.fs.mu.Unlock()
	}
	var unknown *op
	for range 5 + w.rnd.IntN(25) {
		if unknown = w.step(); unknown != nil {
			break
		}
	}
	w.end(!clean, unknown)
}

// end closes or crashes, opens again and compares.
func (w *world) end(crash bool, unknown *op) {
	w.t.Helper()
	if !crash {
		if err := w.store.Close(); err != nil {
			w.t.Fatalf("close: %v", err)
		}
		w.check()
		w.open()
		w.compare(len(w.done), nil)
		return
	}
	w.fs.mu.Lock()
	w.fs.freezeAt = 1
	w.fs.mu.Unlock()
	_ = w.store.Close() // ends the goroutines; it can change nothing any more
	power := w.rnd.IntN(2) == 0
	w.fs.crash(w.rnd, power)
	least := len(w.done)
	if power {
		least = w.durable
	}
	w.check()
	w.open()
	w.compare(least, unknown)
	if unknown != nil && unknown.name == forgetsBob { // whether that was done can't be seen where his marks are set aside
		if err := errors.Join(forgetBob(w.users), forgetBob(w.model)); err != nil {
			w.t.Fatal(err)
		}
		w.done = append(w.done, *unknown)
	}
}

// check looks at the closed account from outside.
func (w *world) check() {
	w.t.Helper()
	var out bytes.Buffer
	if err := check(w.fs, "/mail", &out); err != nil {
		w.t.Fatalf("check: %v\n%s", err, out.String())
	}
}
