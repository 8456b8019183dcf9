package mailbox

import (
	"context"
	"io"
	"time"

	"github.com/roost-mail/roost/imap"
)

// Account is one user's mailboxes as one acting user sees them.
//
// Names are UTF-8 with imap.Delimiter between levels; INBOX is spelled in
// capitals. A name that the acting user may not know of gets the same answer as
// one that does not exist: NONEXISTENT, and TRYCREATE from Append and Copy.
type Account interface {
	// List returns the mailboxes whose names match one of the patterns, sorted
	// by name, and the levels above them that are no mailboxes and match
	// (as \Noselect). Attributes are exact: \HasChildren counts only what the
	// acting user may see. It waits for no other backend longer than
	// a few seconds, and an owner who can't be reached is no error.
	List(ctx context.Context, patterns []string) ([]ListEntry, error)

	// Subscriptions returns the names the acting user has subscribed, sorted.
	// They need not exist.
	Subscriptions(ctx context.Context) ([]string, error)

	// SetSubscribed adds or removes a subscription and returns when that is
	// durable. A home takes any name: it may be that of another owner's
	// mailbox. namespace.Tree looks whether there is such a mailbox.
	SetSubscribed(ctx context.Context, name string, subscribed bool) error

	// Status returns the counters asked for; others may be zero.
	Status(ctx context.Context, name string, items imap.StatusItems) (imap.Status, error)

	// Statuses calls emit once for each of names, in any order, with what Status
	// would answer. It asks all owners at once, each in one exchange and for a
	// bounded time: who does not answer costs only their own mailboxes, which
	// get UNAVAILABLE. emit is called by the caller's goroutine.
	Statuses(ctx context.Context, names []string, items imap.StatusItems, emit func(name string, s imap.Status, err error))

	// Open selects a mailbox. The Mailbox sees the state of that moment until
	// its Sync. Where the acting user may only read, it is read-only even if
	// readOnly is false. The caller closes it.
	Open(ctx context.Context, name string, readOnly bool) (Mailbox, error)

	// Create makes a mailbox and the missing levels above it. It takes over the
	// ACL of the nearest existing level above, once, in the same transaction. use
	// becomes its special use (RFC 6154), which only owners can give: else USEATTR.
	Create(ctx context.Context, name string, use ...imap.Attr) error

	// Delete removes a mailbox and its messages, not those below it. INBOX
	// can't be deleted. Open sessions learn of it (Changes.Gone).
	Delete(ctx context.Context, name string) error

	// Rename moves a mailbox and all below it, with flags, private flags, ACLs
	// and UIDs. Renaming INBOX moves its messages and leaves it empty
	// (RFC 9051 section 6.3.6).
	Rename(ctx context.Context, from, to string) error

	// Append adds the messages that next yields, all or none. It asks for the
	// first only when it knows that the mailbox exists and takes mail; next
	// returns io.EOF after the last. Once it returns nil the messages are durable.
	Append(ctx context.Context, name string, next NextMessage) (imap.AppendData, error)

	// Close frees what the Account holds. Mailboxes opened from it are closed first.
	Close() error
}

// Reopener is an Account that tells who had a mailbox open what became of it.
type Reopener interface {
	// Reopen is Open, but that NOPERM says of a mailbox that may not be known any more that the
	// one with that ID is still there.
	Reopen(ctx context.Context, name string, readOnly bool, id imap.ObjectID) (Mailbox, error)
}

// Reopen opens a mailbox that may have been open before: then it had that ID, which else is empty.
func Reopen(ctx context.Context, a Account, name string, readOnly bool, id imap.ObjectID) (Mailbox, error) {
	if r, ok := a.(Reopener); ok && id != "" {
		return r.Reopen(ctx, name, readOnly, id)
	}
	return a.Open(ctx, name, readOnly)
}

// Complete is an Account of which everything can be asked that a client can ask for.
type Complete interface {
	Account
	ACL
	Metadata
	Quota
	Observer
}

// ListEntry is a line of LIST.
type ListEntry struct {
	Name  string
	Attrs []imap.Attr

	// Rights are the acting user's, if they were known without asking for them;
	// otherwise 0, which no mailbox that is listed has.
	Rights imap.Rights
}

// StatusEach is Statuses for an Account that gains nothing by asking together.
func StatusEach(ctx context.Context, a Account, names []string, items imap.StatusItems, emit func(name string, s imap.Status, err error)) {
	for _, name := range names {
		s, err := a.Status(ctx, name, items)
		emit(name, s, err)
	}
}

// NextMessage yields the messages to append, one by one. What it returns is
// valid until it is called again. An error other than io.EOF ends the append
// without effect and is returned by it.
type NextMessage func() (*NewMessage, error)

// AtEnd reports whether a NextMessage had none left. An error that has io.EOF as
// its cause, as that of a lost connection has, is not the end.
func AtEnd(err error) bool { return err == io.EOF } //nolint:errorlint // see above

// NewMessage is a message on its way into a mailbox.
type NewMessage struct {
	Flags        []imap.Flag // without \Recent
	InternalDate time.Time   // zero: now
	Size         int64
	Body         io.Reader // yields Size bytes, or an error

	// EmailID is that of the message this is a copy of, if it is known; a home
	// that can't keep it gives a new one.
	EmailID imap.ObjectID
}

// One is a NextMessage of a single message.
func One(m *NewMessage) NextMessage {
	return func() (*NewMessage, error) {
		if m == nil {
			return nil, io.EOF
		}
		out := m
		m = nil
		return out, nil
	}
}

// ACL is an Account whose rights can be asked for and changed (RFC 4314). Guard,
// remote and namespace are; a bare store is not.
//
// Any of l r i k x a answers MyRights; the other four need a. Identifiers are
// in IMAP's form: `bob`, `$team`, `anyone`, with `-` before a negative one.
type ACL interface {
	MyRights(ctx context.Context, name string) (imap.Rights, error)
	GetACL(ctx context.Context, name string) ([]imap.ACLEntry, error)
	SetACL(ctx context.Context, name, identifier string, change imap.ACLChange, rights imap.Rights) error
	DeleteACL(ctx context.Context, name, identifier string) error
	ListRights(ctx context.Context, name, identifier string) (imap.GrantableRights, error)
}

// Namespaces is an Account that knows its place in RFC 2342's reply.
type Namespaces interface {
	Namespaces() NamespaceList
}

// NamespaceList holds the prefixes of a NAMESPACE response, each ending with
// the delimiter unless it is empty.
type NamespaceList struct{ Personal, Others, Shared []string }

// Entry is one line of a mailbox's ACL as a home keeps it. Identifier is in the
// form of ACL files: `user=bob`, `group=team`, `group-override=team`, `owner`,
// `authenticated`, `anyone`.
type Entry struct {
	Identifier string
	Negative   bool
	Rights     imap.Rights

	// Global says that it is the administrator's, for many mailboxes. A home
	// keeps none of those.
	Global bool

	// Expires is when it ends, in seconds of Unix time: from then on it is to be taken
	// as if it were not there. 0 is never.
	Expires int64
}

// FirstExpiry is when the first of entries ends, or first if that is earlier. Of both 0
// is never.
func FirstExpiry(first int64, entries []Entry) int64 {
	for _, e := range entries {
		if e.Expires != 0 && (first == 0 || e.Expires < first) {
			first = e.Expires
		}
	}
	return first
}

// Standing is all that a mailbox's ACL is worked out from, as of one moment. The
// slices are shared and never changed.
type Standing struct {
	Name  string  // what the mailbox is called
	Own   []Entry // its own entries
	Above []Entry // of the nearest level above it that has some
	Inbox []Entry // of INBOX
}

// Membership is in which groups a user is.
type Membership interface {
	// Groups are those now. The slice is shared and never changed.
	Groups() []string

	// Watch has notify called after each change until stop was called. notify must not
	// wait.
	Watch(notify func()) (stop func())
}

// EntryKeeper is a home that keeps ACL entries without judging by them: store
// and mailboxmem. acl.Guard judges.
type EntryKeeper interface {
	// Standing is cheap enough to be called at every command.
	Standing(ctx context.Context, name string) (Standing, error)

	// UpdateEntries replaces a mailbox's own entries by what change makes of
	// the mailbox's standing, in one durable transaction. Mailboxes open in any
	// session hear of it (Watch), those below that have no entries of their own
	// among them, and for INBOX all that have none.
	UpdateEntries(ctx context.Context, name string, change func(Standing) ([]Entry, error)) error

	// Expiry is when the first entry of any mailbox ends or has ended, in seconds of
	// Unix time; 0 if none does. It is cheap.
	Expiry(ctx context.Context) (int64, error)

	// Mailboxes returns the names of all mailboxes that exist.
	Mailboxes(ctx context.Context) ([]string, error)

	// Uses returns the special uses of mailboxes, as List shows them: those of
	// the owner's own sessions. Mailboxes without one are not in the map.
	Uses(ctx context.Context) (map[string][]imap.Attr, error)
}

// Metadata is an Account whose mailboxes have annotations (RFC 5464). The
// mailbox name "" means the account itself, which is what a session's server is.
//
// Entries below /private are the acting user's own, those below /shared are one
// for all. They follow RENAME, go with DELETE, and are copied by a RENAME of INBOX.
type Metadata interface {
	GetMetadata(ctx context.Context, name string, q *imap.MetadataQuery) (imap.MetadataFound, error)

	// SetMetadata sets all of entries or none, and returns when that is durable.
	// Names have been checked. A value beyond imap.MaxMetadataValue is refused by
	// METADATA MAXSIZE, one entry too many by METADATA TOOMANY.
	SetMetadata(ctx context.Context, name string, entries []imap.MetadataEntry) error
}

// CheckMetadata refuses values that are too long, and special uses that no
// mailbox can have.
func CheckMetadata(entries []imap.MetadataEntry) error {
	for _, e := range entries {
		if len(e.Value) > imap.MaxMetadataValue {
			return imap.Errorf(imap.CodeMetadataMaxSize, "Value is too long")
		}
		if e.Name == imap.MetadataSpecialUse {
			if _, err := imap.ParseSpecialUses(e.Value); err != nil {
				return err
			}
		}
		if v := string(e.Value); e.Name == imap.MetadataPrivateFlags && e.Value != nil && v != "private" && v != "shared" {
			return imap.Errorf(imap.CodeCannot, "The value has to be private or shared")
		}
	}
	return nil
}

// EntryHolder is a Mailbox of an EntryKeeper: it knows the standing of the
// mailbox it has open, whatever that is called by now.
type EntryHolder interface {
	// Standing is like EntryKeeper.Standing; after deletion it answers NONEXISTENT.
	Standing(ctx context.Context) (Standing, error)
}

// ShareLog is a home that remembers which of its ACL changes the sharing index
// has seen, so that none is forgotten in a crash.
type ShareLog interface {
	ShareState() ShareState

	// MarkShared records that the index agrees with version.
	MarkShared(ctx context.Context, version uint64) error
}

// ShareState is how far the sharing index is behind a home.
type ShareState struct {
	Epoch     uint64 // grows each time the home is opened by another process; not 0
	Version   uint64 // grows, in the same transaction, with every change of entries and every CREATE, DELETE and RENAME
	Published uint64 // the last version that MarkShared recorded
}
