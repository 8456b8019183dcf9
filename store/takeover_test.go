package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// changes are what clients do, as procedures.
var changes = []procedure{
	{"append", func(p *proc) error { return p.append(21) }},
	{"first append", func(p *proc) error { return p.append(21) }}, // into a segment
	{"commit", func(p *proc) error {
		m, err := p.a.Open(context.Background(), "INBOX", false)
		if err != nil {
			return err
		}
		_, err = m.Copy(context.Background(), imap.UIDRange(1, 1<<32-1), "INBOX")
		return err
	}},
	{"expunge", func(p *proc) error {
		m, err := p.a.Open(context.Background(), "INBOX", false)
		if err != nil {
			return err
		}
		return m.Expunge(context.Background(), nil, true)
	}},
}

func (p *proc) append(n int) error {
	_, err := p.a.Append(context.Background(), "INBOX", newMail(n))
	return err
}

// newFenced is newProc under a referee, whose holder b1 never notices by the clock
// that it has lost.
func newFenced(t *testing.T, name string) *proc {
	t.Helper()
	p := makeProc(t, name, newReferee())
	p.claims.set(p.claims.blind, "b1", true)
	var err error
	switch name {
	case "first append":
		err = p.lead(p.a.rollOver)
	case "expunge":
		deleted := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}
		_, err = mustSelect(t, p.a, "INBOX").Store(t.Context(), imap.UIDRange(10, 1<<32-1), deleted, nil)
		err = errors.Join(err, p.lead(p.a.syncNow))
		p.want = contentsOf(t, p.a, "INBOX")
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestFencedAtEachCall stops the holder at each call of all that it does to files.
// Others take over, once or twice, by a higher epoch and nothing else; then it goes
// on, as a paused machine does, and believes that it still holds the mail. It
// acknowledges nothing, and what it does is never read.
func TestFencedAtEachCall(t *testing.T) {
	for _, c := range append(slices.Clone(procedures), changes...) {
		if c.name == "open" { // an open is no answer: TestFencedOpen
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			p := newFenced(t, c.name)
			before := p.fs.ops
			if err := c.run(p); err != nil {
				t.Fatal(err)
			}
			steps := p.fs.ops - before
			if steps < 2 {
				t.Fatalf("only %d steps", steps)
			}
			after := p.want
			if c.name != "close" {
				after = contentsOf(t, p.a, "INBOX")
			}
			client := slices.ContainsFunc(changes, func(other procedure) bool { return other.name == c.name })
			for step := range steps {
				for _, way := range []fencing{{}, {twice: true}, {late: true}, {twice: true, late: true}} {
					way.step, way.client, way.after = step+1, client, after
					t.Run(fmt.Sprintf("%d twice=%t late=%t", step+1, way.twice, way.late), func(t *testing.T) {
						way.run(t, newFenced(t, c.name), c.run)
					})
				}
			}
		})
	}
}

// fencing is one such takeover.
type fencing struct {
	step   int
	twice  bool   // the successor is stopped as well
	late   bool   // so much later that nothing stands in the way of the old one
	client bool   // a client waits for the answer
	after  string // what would be there if nobody had come in between
}

func (f fencing) run(t *testing.T, p *proc, run func(*proc) error) {
	stopped, resume := make(chan struct{}), make(chan struct{})
	p.fs.mu.Lock()
	p.fs.stopAt, p.fs.stopped, p.fs.resume = p.fs.ops+f.step, stopped, resume
	p.fs.mu.Unlock()
	old := *p
	ended := make(chan error, 1)
	go func() { ended <- run(&old) }()
	select {
	case <-stopped:
	case err := <-ended:
		t.Fatalf("ended before it stopped: %v", err)
	}
	stores := []*Store{old.store, f.takeOver(t, p, "b2")}
	if f.twice {
		p.claims.set(p.claims.blind, "b2", true)
		stores = append(stores, f.takeOver(t, p, "b3"))
	}
	if f.late {
		for range 4 {
			p.fs.pass(keptTakeover)
			if err := p.a.maintain(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(resume)
	if err := <-ended; f.client && err == nil {
		t.Error("it was acknowledged")
	}
	if err := old.append(22); err == nil {
		t.Error("the old holder acknowledged a message")
	}
	if err := old.lead(func() error { return old.a.begin(old.a.writer.synced) }); err == nil {
		t.Error("the old holder installed a manifest")
	}
	for _, s := range stores[:len(stores)-1] {
		_ = s.Close()
	}
	if got := contentsOf(t, p.a, "INBOX"); got != p.want {
		t.Fatalf("got\n%s\nwant\n%s", got, p.want)
	}
	if err := p.append(31); err != nil {
		t.Fatal(err)
	}
	if err := p.a.maintain(context.Background()); err != nil {
		t.Fatal(err)
	}
	p.want = contentsOf(t, p.a, "INBOX")
	p.fs.crash(rand.New(rand.NewPCG(uint64(f.step), 2)), true)
	f.takeOver(t, p, "b4")
	if err := p.store.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if err := check(p.fs, "/mail", t.Output()); err != nil {
		t.Fatal(err)
	}
}

// takeOver opens the mail at another backend, which finds all that was
// acknowledged, and delivers there.
func (f fencing) takeOver(t *testing.T, p *proc, name string) *Store {
	t.Helper()
	var err error
	if p.a, err = p.open(name); err != nil {
		t.Fatalf("open at %s: %v", name, err)
	}
	if got := contentsOf(t, p.a, "INBOX"); got != p.want && got != f.after {
		t.Fatalf("%s got\n%s\nwant\n%s\nor\n%s", name, got, p.want, f.after)
	}
	if err := p.append(30); err != nil {
		t.Fatal(err)
	}
	p.want = contentsOf(t, p.a, "INBOX")
	return p.store
}

// TestFencedOpen stops an open at each call, and has another backend, or two, open the mail
// meanwhile. The open fails then, and harms nothing.
func TestFencedOpen(t *testing.T) {
	count := func() int {
		p := newFenced(t, "open")
		before := p.fs.ops
		if _, err := p.open("b1"); err != nil {
			t.Fatal(err)
		}
		return p.fs.ops - before
	}
	for step := range count() {
		for _, twice := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d twice=%t", step+1, twice), func(t *testing.T) {
				p := newFenced(t, "open")
				f := fencing{step: step + 1, twice: twice}
				f.runOpen(t, p)
			})
		}
	}
}

func (f fencing) runOpen(t *testing.T, p *proc) {
	stopped, resume := make(chan struct{}), make(chan struct{})
	p.fs.mu.Lock()
	p.fs.stopAt, p.fs.stopped, p.fs.resume = p.fs.ops+f.step, stopped, resume
	p.fs.mu.Unlock()
	old := *p
	ended := make(chan error, 1)
	go func() {
		var err error
		if old.a, err = old.open("b1"); err == nil {
			err = old.append(22)
		}
		ended <- err
	}()
	<-stopped
	f.takeOver(t, p, "b2")
	if f.twice {
		p.claims.set(p.claims.blind, "b2", true)
		f.takeOver(t, p, "b3")
	}
	close(resume)
	if err := <-ended; err == nil {
		t.Error("the old holder acknowledged a message")
	}
	if got := contentsOf(t, p.a, "INBOX"); got != p.want {
		t.Fatalf("got\n%s\nwant\n%s", got, p.want)
	}
	p.fs.crash(rand.New(rand.NewPCG(uint64(f.step), 2)), true)
	f.takeOver(t, p, "b4")
	if err := p.store.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if err := check(p.fs, "/mail", t.Output()); err != nil {
		t.Fatal(err)
	}
}
