package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/roost-mail/roost/imap"
)

// client works in one user's mail. It belongs to the goroutine of run; what it knows
// is read after that has ended.
type client struct {
	world  World
	rand   *rand.Rand
	ledger *ledger
	others []string // with whom mailboxes are shared

	session Session // nil while there is none
	failed  int     // logins that failed
	next    int     // for ids

	// what is told of commands: before one, after it, and when no more are given
	asks     func()
	answered func(ok bool)
	gives    func()
}

// pauses of a client, so that few clients are a load and many are no flood.
const (
	betweenCommands = 40 * time.Millisecond
	afterFailure    = 100 * time.Millisecond
)

// run works until ctx ends.
func (c *client) run(ctx context.Context) {
	defer c.leave()
	defer c.gives()
	for ctx.Err() == nil {
		pause := betweenCommands
		c.asks()
		err := c.step(ctx)
		if err != nil {
			pause = afterFailure
		}
		c.answered(err == nil)
		c.world.Sleep(ctx, pause/2+time.Duration(c.rand.Int64N(int64(pause))))
	}
}

func (c *client) leave() {
	if c.session != nil {
		_ = c.session.Close()
		c.session = nil
	}
}

// commandTime is the longest a client waits for an answer.
const commandTime = 10 * time.Second

// step gives one command. The error is that of a command or login that got no OK.
func (c *client) step(ctx context.Context) error {
	if c.session == nil {
		s, err := c.world.Open(ctx, c.ledger.user)
		if err != nil {
			c.failed++
			return err
		}
		c.session = s
	}
	// A command under way is waited for when the load ends.
	brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandTime)
	defer cancel()
	o, err := c.change(brief)
	if o == unknown || imap.CodeOf(err) == imap.CodeUnavailable || c.rand.IntN(50) == 0 {
		c.leave()
	}
	return err
}

// oneGrant in so many commands changes who may read a mailbox.
const oneGrant = 12

// change gives one command that changes something.
func (c *client) change(ctx context.Context) (outcome, error) {
	if len(c.others) > 0 && c.rand.IntN(oneGrant) == 0 {
		g := grant{Mailboxes[c.rand.IntN(len(Mailboxes))], c.others[c.rand.IntN(len(c.others))]}
		if t := c.ledger.grants[g]; !t.pending { // else a command may arrive yet, after the next
			err := c.session.Grant(ctx, g.mailbox, g.reader, !t.on)
			c.ledger.granted(g, !t.on, outcomeOf(err))
			return outcomeOf(err), err
		}
	}
	id, what := c.choose()
	p, err := c.do(ctx, id, what)
	c.ledger.answered(id, what, p, outcomeOf(err))
	return outcomeOf(err), err
}

func outcomeOf(err error) outcome {
	if err == nil {
		return acknowledged
	}
	if _, is := errors.AsType[*imap.Error](err); is && !errors.Is(err, imap.ErrUnknownOutcome) {
		return refused
	}
	return unknown
}

// choose picks a message that may be changed, and the change; else a new message.
func (c *client) choose() (id string, what change) {
	mailbox := Mailboxes[c.rand.IntN(len(Mailboxes))]
	if c.rand.IntN(3) > 0 {
		for range 5 {
			id := fmt.Sprintf("%s-%d", c.ledger.user, 1+c.rand.IntN(max(1, c.next)))
			f := c.ledger.messages[id]
			if f == nil || f.pending != nil || len(f.copies) == 0 {
				continue
			}
			return id, c.changeOf(f.copies)
		}
	}
	c.next++
	return fmt.Sprintf("%s-%d", c.ledger.user, c.next), change{kind: appending, mailbox: mailbox}
}

func (c *client) changeOf(copies []copyOf) change {
	of := copies[c.rand.IntN(len(copies))]
	what := change{mailbox: of.mailbox, uid: of.uid, kind: flagging, on: !of.flagged}
	other := Mailboxes[(slices.Index(Mailboxes[:], of.mailbox)+1)%len(Mailboxes)]
	switch c.rand.IntN(6) {
	case 0:
		what.kind = expunging
	case 1:
		if len(copies) < 3 {
			what.kind, what.to = copying, other
		}
	case 2:
		what.kind, what.to = moving, other
	}
	return what
}

func (c *client) do(ctx context.Context, id string, what change) (Place, error) {
	switch what.kind {
	case flagging:
		return Place{}, c.session.Flag(ctx, what.mailbox, what.uid, what.on)
	case expunging:
		return Place{}, c.session.Expunge(ctx, what.mailbox, what.uid)
	case copying:
		return c.session.Copy(ctx, what.mailbox, what.uid, what.to)
	case moving:
		return c.session.Move(ctx, what.mailbox, what.uid, what.to)
	}
	return c.session.Append(ctx, what.mailbox, id)
}

// check reads all mail of the user and compares. It tries again while the cluster
// does not answer, until ctx ends.
func (c *client) check(ctx context.Context) {
	for {
		err := c.read(ctx)
		if err == nil {
			return
		}
		c.leave()
		if ctx.Err() != nil {
			c.ledger.problem("the mail can't be read: %v", err)
			return
		}
		c.world.Sleep(ctx, afterFailure)
	}
}

func (c *client) read(ctx context.Context) (err error) {
	if c.session == nil {
		if c.session, err = c.world.Open(ctx, c.ledger.user); err != nil {
			c.session = nil
			return err
		}
	}
	seen := map[string][]Message{}
	for _, mailbox := range Mailboxes {
		validity, messages, err := c.session.Messages(ctx, mailbox)
		if err != nil {
			return err
		}
		c.ledger.sameValidity(mailbox, validity)
		seen[mailbox] = messages
		readers, err := c.session.Granted(ctx, mailbox)
		if err != nil {
			return err
		}
		c.ledger.seeGrants(mailbox, readers)
	}
	c.ledger.see(seen)
	return nil
}
