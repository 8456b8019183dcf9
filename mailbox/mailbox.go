package mailbox

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/roost-mail/roost/imap"
)

// Mailbox is one session's handle on an open mailbox. It has two clocks: what
// exists now, on which commands work, and what it has told its session, which
// moves only in Sync. Commands skip messages that are gone.
//
// After the acting user lost `r`, commands answer NOPERM and Sync reports
// nothing; after the mailbox was deleted they answer NONEXISTENT; while its
// backend can't be reached, UNAVAILABLE. Close always works.
type Mailbox interface {
	// Info is the state as of Open, brought up to date by Sync.
	Info() Info

	// Fetch calls emit for each message of uids that exists, in ascending
	// order, with what items asks for. The *Message and all it refers to are
	// valid only until emit returns. No lock is held during emit. An error of
	// emit ends the Fetch and is returned. If items.MarkSeen changed a
	// message's flags, its Flags are given and FlagsChanged is set.
	Fetch(ctx context.Context, uids imap.UIDSet, items *imap.FetchItems, emit func(*Message) error) error

	// Search returns the UIDs of all messages that match, those that Sync has
	// not reported yet perhaps among them.
	Search(ctx context.Context, program *imap.SearchKey) (Found, error)

	// Sort is Search with the result in order of keys, of which there is one at
	// least. RFC 5256, RFC 5957.
	Sort(ctx context.Context, keys []imap.SortKey, program *imap.SearchKey) (Sorted, error)

	// Thread returns the threads of all messages that match: of one that does
	// not, it tells nothing but that there may be one (UID 0). RFC 5256.
	Thread(ctx context.Context, algorithm imap.ThreadAlgorithm, program *imap.SearchKey) ([]imap.ThreadMember, error)

	// Vanished returns those of uids that were expunged after the modification
	// sequence since, and perhaps others that do not exist; never one that
	// exists, or that no message had yet (RFC 7162 section 3.2.6).
	Vanished(ctx context.Context, uids imap.UIDSet, since imap.ModSeq) (imap.UIDSet, error)

	// Store changes flags. emit is called with UID, Flags and ModSeq of each
	// message of uids that exists, changed or not, unless change.Silent; Sync does not report these
	// changes again to this handle, whether silent or not. If the acting user
	// may change only some of the flags, those are changed and emit is called
	// even if Silent, so that the client learns the truth; if none, the answer
	// is NOPERM and nothing changes.
	//
	// With change.UnchangedSince a message that was changed later, as far as the
	// acting user can see, is left as it is and is one of modified; emit is not
	// called for it. Each message is judged and changed in one step, wherever it lives.
	Store(ctx context.Context, uids imap.UIDSet, change FlagChange, emit func(*Message) error) (modified imap.UIDSet, err error)

	// Expunge removes the messages of uids that are marked \Deleted for good;
	// with all, uids is not looked at. Sync reports them. Durable on return.
	Expunge(ctx context.Context, uids imap.UIDSet, all bool) error

	// Copy copies messages to a mailbox of the same Account, with flags and
	// internal dates, all or none. Durable on return.
	Copy(ctx context.Context, uids imap.UIDSet, dest string) (imap.CopyData, error)

	// Move is Copy and the removal of the sources in one step (RFC 6851). Sync
	// reports the removal.
	Move(ctx context.Context, uids imap.UIDSet, dest string) (imap.CopyData, error)

	// Sync returns what happened since the last Sync (or Open), and moves the
	// handle on. With fresh it asks the mailbox's home, wherever that is;
	// without, it may return only what has arrived here.
	Sync(ctx context.Context, fresh bool) (Changes, error)

	// Watch has notify called, from any goroutine, soon after Sync would have
	// something to return: new or expunged messages, flags, rights, the
	// mailbox's end. notify must return at once and must not call the
	// Mailbox. It may be called without need. After stop has returned it is
	// not called again. There is one Watch at a time, and no other method is
	// called during it but Sync and Close.
	Watch(notify func()) (stop func())

	// Close frees the handle; it never expunges.
	Close() error
}

// Found is what Search found. ModSeq is the highest modification sequence among
// the messages found if the program has a SearchModSeq, else 0.
type Found struct {
	UIDs   imap.UIDSet
	ModSeq imap.ModSeq
}

// Sorted is Found in the order that was asked for.
type Sorted struct {
	UIDs   []imap.UID
	ModSeq imap.ModSeq
}

// Prefetcher is a Mailbox for which a Fetch takes a round trip.
type Prefetcher interface {
	// Prefetch says that Fetch will be called with just these uids and items,
	// after those Fetches that were said before and with nothing but Sync in
	// between. It does not wait. It reports whether the Fetch was begun: if not,
	// nothing more is to be said before that Fetch. If other calls come the
	// answers are dropped, and a Fetch asks again.
	Prefetch(ctx context.Context, uids imap.UIDSet, items *imap.FetchItems) bool
}

// Info describes an open mailbox.
type Info struct {
	Name           string
	UIDValidity    uint32
	UIDNext        imap.UID
	UIDs           imap.UIDSet   // the messages told so far
	Recent         imap.UIDSet   // those of UIDs that are recent for this session (RFC 3501 section 2.3.2)
	Unseen         imap.UID      // first message without \Seen as of Open, 0 if none
	HighestModSeq  imap.ModSeq   // 0: the mailbox has no modification sequences (NOMODSEQ)
	MailboxID      imap.ObjectID // "" where the home has none
	Flags          []imap.Flag   // known here: system flags and keywords
	PermanentFlags []imap.Flag   // changeable by the acting user; FlagWildcard if keywords may be made
	ReadOnly       bool
}

// Message is what Fetch and Store tell of a message. Fields that were not
// asked for are zero.
type Message struct {
	UID           imap.UID
	ModSeq        imap.ModSeq
	Flags         []imap.Flag // without \Recent; shared, not to be changed
	FlagsChanged  bool
	ModSeqAlone   bool // of a silent Store: the client knows the flags, which are left out
	InternalDate  time.Time
	Size          int64
	Envelope      []byte        // wire form, parentheses included
	Body          []byte        // wire form
	BodyStructure []byte        // wire form
	EmailID       imap.ObjectID // "" where the home has none
	ThreadID      imap.ObjectID // "" where threads have none
	SaveDate      time.Time     // zero where the home keeps none
	Preview       string        // UTF-8, at most MaxPreview characters
	HasPreview    bool          // Preview could be told; else it is shown as NIL
	BinarySizes   []int64       // the n-th answers the n-th of FetchItems.BinarySizes; 0 if there is no such part
	Sections      []SectionData
}

// MaxPreview bounds a preview, in characters (RFC 8970 section 3.1).
const MaxPreview = 200

// SectionData is a section of a message: the n-th of Message.Sections answers
// the n-th of FetchItems.Sections. A part that does not exist has Missing set
// and is shown as NIL; otherwise Body yields Size bytes, once. The bodies are
// read in order.
type SectionData struct {
	Missing bool
	Size    int64
	Body    io.Reader
}

// FlagChange says what Store does.
type FlagChange struct {
	Op     FlagOp
	Flags  []imap.Flag // canonical, without \Recent
	Silent bool

	// ModSeqs has emit be called although the change is silent: with UID and
	// ModSeq (Message.ModSeqAlone), or with Flags where the client has to learn them.
	ModSeqs bool

	// UnchangedSince, unless nil, limits the change as Spares says.
	UnchangedSince *imap.ModSeq

	// Within limits the change to flags of these classes; for FlagsReplace,
	// flags of other classes stay as they are. 0 means all classes.
	Within imap.FlagClass
}

// FlagOp is one of STORE's three forms.
type FlagOp uint8

// FLAGS, +FLAGS and -FLAGS.
const (
	FlagsReplace FlagOp = iota
	FlagsAdd
	FlagsRemove
)

// Apply returns flags as c changes them, in a new slice if anything differs,
// and whether anything does. Replacing keeps what is outside c.Within.
func (c *FlagChange) Apply(flags []imap.Flag) ([]imap.Flag, bool) {
	within := c.Within
	if within == 0 {
		within = imap.AllClasses
	}
	var out []imap.Flag
	for _, f := range flags {
		named := imap.HasFlag(c.Flags, f)
		drop := named && c.Op == FlagsRemove || !named && c.Op == FlagsReplace
		if !drop || within&imap.ClassOf(f) == 0 {
			out = append(out, f)
		}
	}
	changed := len(out) != len(flags)
	if c.Op == FlagsRemove {
		return out, changed
	}
	for _, f := range c.Flags {
		if within&imap.ClassOf(f) != 0 && !imap.HasFlag(out, f) {
			out = append(out, f)
			changed = true
		}
	}
	return out, changed
}

// Spares reports whether UnchangedSince keeps a message from being changed that
// has the modification sequence and the flags given. With 0 that is so if one of
// the flags named exists; system flags always do (RFC 7162 section 3.1.3).
func (c *FlagChange) Spares(modSeq imap.ModSeq, flags []imap.Flag) bool {
	switch {
	case c.UnchangedSince == nil:
		return false
	case *c.UnchangedSince > 0 || c.Op == FlagsReplace:
		return modSeq > *c.UnchangedSince
	}
	return slices.ContainsFunc(c.Flags, func(f imap.Flag) bool {
		return strings.HasPrefix(string(f), `\`) || imap.HasFlag(flags, f)
	})
}

// Changes is what a session has to be told.
type Changes struct {
	Vanished imap.UIDSet // told before and gone now
	New      imap.UIDSet // not told before, each greater than all told before
	Recent   imap.UIDSet // those of New that are recent for this session
	Flags    []Message   // UID, Flags and ModSeq of messages told before whose flags changed

	UIDNext imap.UID

	// HighestModSeq is one up to which everything has been told. As long as
	// only others expunge it may stay behind that of the mailbox.
	HighestModSeq imap.ModSeq

	// FlagsChanged says that Info's Flags, PermanentFlags or ReadOnly differ
	// from what they were: FLAGS and PERMANENTFLAGS are sent again.
	FlagsChanged bool

	// Gone says that the mailbox was deleted (or its UIDVALIDITY changed), Revoked that the acting user can't
	// read it any more, Unavailable that its backend can't be reached; each is
	// reported once.
	Gone, Revoked, Unavailable bool
}

// Empty reports whether there is nothing to tell.
func (c *Changes) Empty() bool {
	return c.Vanished.Empty() && c.New.Empty() && len(c.Flags) == 0 &&
		!c.FlagsChanged && !c.Gone && !c.Revoked && !c.Unavailable
}
