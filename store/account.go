package store

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/roost-mail/roost/imap"
)

func unknownOutcome(cause error) error {
	return imap.Wrap(imap.CodeUnavailable, "Storage failed, outcome unknown", fmt.Errorf("%w: %w", imap.ErrUnknownOutcome, cause))
}

func unavailable(cause error) error {
	return imap.Wrap(imap.CodeUnavailable, "Mail is not available at the moment", cause)
}

// account is one user's mail, open in this process.
//
// Writers submit transactions to a queue. The first that finds no leader leads:
// it builds, writes, syncs and applies its own and others' transactions, and
// hands leadership on when its own is done. Only the leader touches what stands
// under "leader"; it changes st only while holding mu for writing, so that it
// may read st without.
type account struct {
	store *Store
	disk  disk
	user  string
	id    objectID
	epoch uint64 // since open, as is the next

	incarnation uint64
	log         *slog.Logger
	lock        io.Closer // nil if another process had it, which lost its right
	locked      bool      // since open: it had
	fence       *fence
	slot        *slot

	queueMu sync.Mutex
	queue   []*txn
	leading bool
	ended   error // why nothing more is taken

	share share // of Store.memory: all but the messages of mailboxes
	files share // of Store.files

	roomy atomic.Int64 // until when (Unix nanoseconds) there is room on the disk

	mu        sync.RWMutex
	st        *state
	observers []*observer // replaced, never changed in place
	markers   []*observer // of WatchMarks, likewise
	broken    error       // a second failure of the disk, or fenced
	forgotten bool        // closed: it holds nothing of Store.memory any more

	segMu sync.RWMutex
	segs  map[uint32]fileName // all segments, for readers

	digests map[uint32]digestEntry // by mailbox
	spoiled map[string]bool        // digest files that can't be read

	// leader
	man      *manifest
	counted  *manifest // whose tailSegments are counted: segments
	segments int
	names    map[uint32]fileName // of all files that man lists
	writer   *logWriter
	next     allocator
	tail     tail
	// unapplied says that the tail has what the state lacks: it is not folded.
	unapplied bool
	group     []*txn // being worked on
	folding   bool
	// installing is true from a snapshot until the manifest that lists it, or its end
	installing bool
	timerSet   bool

	ctx        context.Context // of background work; cancel ends it
	cancel     context.CancelFunc
	background sync.WaitGroup
	foldMu     sync.Mutex  // held by a fold, from its snapshot to its manifest; never by the leader
	timer      *time.Timer // under queueMu
}

// allocator gives out numbers. They run ahead of state by what is being committed.
type allocator struct {
	box, blob, validity uint32
	modseq              uint64
}

// tail measures what a replay would have to read.
type tail struct {
	bytes   int64
	records int
}
