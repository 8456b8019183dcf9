// Package remote is a user's mail at another backend, over IMAP.
//
// An Account logs in there as the owner with the acting user's name beside it
// (a back session), on the first call that needs it: one connection for what
// concerns no open mailbox, and one for each mailbox that is open. A command is
// passed on whole, and so is its answer; bodies stream through. Rights and a
// private \Seen are not judged here: the other side does both, as that user,
// whether it is Roost or not; or package overlay keeps the flags apart. What it does not offer is done with what it does,
// or answered CANNOT.
//
// Sequence numbers stay between the other side and this package, which keeps
// for each open mailbox the UIDs and flags in the order of the peer's numbers.
//
// A lost connection is made again by the next command that needs it, and what
// changed meanwhile is found by comparing. While that fails the answer is
// UNAVAILABLE, soon, also if the peer does not fail but hangs. A section that is lost in the
// middle is continued. What could happen twice (APPEND, COPY, MOVE) is not sent
// again. The peer's words never leave the log: a code crosses, in our words.
package remote

import (
	"context"
	"log/slog"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/sasl"
)

// Config says where the mail is and who wants it. Zero fields have the default
// named beside them.
type Config struct {
	// Dial connects and waits for the greeting. Timeouts of commands and limits
	// are those of the Conn it returns.
	Dial func(ctx context.Context) (*imapclient.Conn, error)

	// Away, if set, is shared with other Accounts, of which none waits for an owner whom
	// another has just found to be away. Server is what Dial connects to, as a name for it.
	Away   *Away
	Server string

	// Owner is whose mail it is. Acting is the user whose password Password is
	// and whose rights apply; if it is empty, the owner's own.
	Owner, Acting, Password string

	// Delegate, if set, gives what logs in instead of the password at a peer that knows
	// sasl.DelegationName: meant for a peer that has named itself, or "". The password
	// is for others; without one they are not logged in to.
	Delegate func(audience string) (*sasl.Delegation, error)

	// Apart are flags that are somebody else's at the peer: none of its messages has them, and
	// no change changes them. Searches are not kept from asking for them. As their changes count
	// in the peer's modification sequences, mailboxes have none.
	Apart []imap.Flag

	ID  map[string]string // told before the login (RFC 2971); nothing
	Log *slog.Logger      // none

	ConnectTimeout time.Duration // for a connection and its login; 5 s
	IdleTime       time.Duration // an IDLE is renewed after that (imapc_max_idle_time); 29 minutes
	PollInterval   time.Duration // between two looks at a peer without IDLE; 30 s
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	setDefault(&c.ConnectTimeout, 5*time.Second)
	setDefault(&c.IdleTime, 29*time.Minute)
	setDefault(&c.PollInterval, 30*time.Second)
	return c
}

func setDefault(d *time.Duration, def time.Duration) {
	if *d <= 0 {
		*d = def
	}
}

// Account is an owner's mail at another backend. Like every Account it is for
// one goroutine at a time; the mailboxes it opened are independent of it.
type Account struct {
	cfg         Config
	control     link
	observation *observation // nil while nothing is observed
}

var (
	_ mailbox.Account = (*Account)(nil)
	_ mailbox.ACL     = (*Account)(nil)

	_ mailbox.Metadata = (*Account)(nil)
	_ mailbox.Quota    = (*Account)(nil)

	_ mailbox.Mailbox = (*box)(nil)
)

// New makes an Account. It connects to nothing yet.
func New(cfg Config) *Account {
	a := &Account{cfg: cfg.withDefaults()}
	a.control.cfg = &a.cfg
	return a
}

// Close ends the connection. Mailboxes that are still open keep theirs.
func (a *Account) Close() error {
	a.control.drop()
	return nil
}
