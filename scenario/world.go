package scenario

import (
	"context"
	"time"

	"github.com/roost-mail/roost/cluster"
)

// World is a cluster to which things happen.
type World interface {
	// Do has a step happen that is not the runner's own, if the world Can.
	Do(ctx context.Context, s Step) error
	Can(verb string) bool

	// Cluster is the world's own way to the coordinator, and what it sees of the cluster
	// there, whatever happens to nodes.
	Cluster() (cluster.Coordinator, *cluster.View)

	// Drift says in what the sharing index differs from what the users' mailboxes say,
	// while nobody changes anything; "" if in nothing.
	Drift(ctx context.Context) (string, error)

	// Open logs a user in at some director. The error is as a Session's are.
	Open(ctx context.Context, user string) (Session, error)

	// Now and Sleep are the world's time.
	Now() time.Duration
	Sleep(ctx context.Context, d time.Duration)
}

// Session is one login of a user. Mailboxes are INBOX and Other, which exist. An error
// that is an *imap.Error says that nothing was done; any other that nobody knows, and
// the session is of no more use.
type Session interface {
	// Append adds a message whose subject is id.
	Append(ctx context.Context, mailbox, id string) (Place, error)
	Flag(ctx context.Context, mailbox string, uid uint32, on bool) error // \Flagged
	Expunge(ctx context.Context, mailbox string, uid uint32) error
	Copy(ctx context.Context, from string, uid uint32, to string) (Place, error)
	Move(ctx context.Context, from string, uid uint32, to string) (Place, error)

	// Grant lets another user see and read a mailbox, or not any more. Granted are
	// those who may.
	Grant(ctx context.Context, mailbox, reader string, on bool) error
	Granted(ctx context.Context, mailbox string) (readers []string, _ error)

	// Messages are those of a mailbox by UID, as anybody who logs in now sees them.
	Messages(ctx context.Context, mailbox string) (validity uint32, _ []Message, _ error)
	Close() error
}

// Place is where a message came to be.
type Place struct{ Validity, UID uint32 }

// Message is a message as a client sees it.
type Message struct {
	ID      string
	UID     uint32
	Flagged bool
}

// Mailboxes are those of each user that clients work in.
var Mailboxes = [...]string{"INBOX", "Other"}
