package store

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/roost-mail/roost/imap"
)

// Options configure a Store. The zero value works.
type Options struct {
	// Holder is this backend's name. An account that another backend left
	// without closing it is not opened.
	Holder string

	// Version is this program's, as manifests note it for the error of an older one.
	Version string

	// Ownership says whose mail may be opened, if a coordinator decides that. Without
	// one, whoever comes first opens it, and holds it until it is closed.
	Ownership Ownership

	Log *slog.Logger
	Now func() time.Time

	// Volumes are the roots of the filesystems that hold mail. If there are
	// any, no account outside them is opened, and none in one that lacks the
	// marker of InitVolume.
	Volumes []string

	// Linger is how long an account stays open after its last user; 0 is
	// defaultLinger, less is none. At most MaxIdle accounts linger; 0 is defaultMaxIdle.
	Linger  time.Duration
	MaxIdle int

	// FollowACL has new mailboxes begin without ACL entries, for a guard that lets them
	// follow the level above, instead of with a copy of that level's.
	FollowACL bool

	// Ballast is how many bytes of each volume are kept from use until the
	// volume is full; 0 is none.
	Ballast int64

	// MinFree is how many bytes of the filesystem are left for expunges, flags
	// and folds: below it messages are refused. 0 is defaultMinFree.
	MinFree int64

	// ExpungeKeep is how long expunged messages can be brought back; 0 is not at all.
	ExpungeKeep time.Duration

	// CompressLevel is zstd's level, 1 to 22, for new messages; 0 leaves them as
	// they come. Messages are read whatever it is.
	CompressLevel int

	// RewriteRate is how many bytes a second all accounts together rewrite to get
	// the room of expunged messages back; 0 is defaultRewriteRate.
	RewriteRate int64

	// CacheSize is about how many bytes of memory open mailboxes may take before
	// those that no session has open, and accounts that nobody uses, are dropped;
	// 0 is defaultCacheSize. MaxFiles is likewise for files that stay open; 0 is
	// a quarter of what the process may open.
	CacheSize int64
	MaxFiles  int

	// FS is the file system; nil is the real one.
	FS FS

	// FailPoint, if set, is called between the steps of commits, folds and
	// manifests, by the name of the step before. An error it returns makes the
	// next step fail. For tests.
	FailPoint func(step string) error

	limits limits
}

// limits are bounds that tests lower.
type limits struct {
	segment     int64 // bytes after which a new segment is begun
	foldBytes   int64 // of the tail, after which it is folded
	foldRecords int
	digests     int // messages of a mailbox before it has a digest file
}

const (
	defaultLinger  = 30 * time.Second
	defaultMaxIdle = 1000
	defaultMinFree = 64 << 20

	defaultCacheSize = 256 << 20
	// maxOpening is how many accounts are opened at once.
	maxOpening = 32

	defaultRewriteRate = 20 << 20
)

// Store is what one process has open. Its methods may be called at once from
// many goroutines.
type Store struct {
	options   Options
	codec     *codec
	ballasts  map[string]*ballast // by volume
	rewriting throttle
	fullSaid  atomic.Int64 // when the log was last told of a disk that is nearly full, Unix nanoseconds
	syncer    syncer
	windows   sync.Pool // of *[]byte, scanWindow long
	roomyFor  time.Duration
	memory    *lru // bytes of accounts and mailboxes
	files     *lru // that stay open
	opening   gate // for accounts that are being opened
	counters  counters
	pending   pending
	probes    probes

	mu       sync.Mutex
	accounts map[string]*slot         // by directory
	openings map[*opening]struct{}    // with Ownership
	leaving  map[string]chan struct{} // by directory: closed when an evicted account is closed or given up
	idle     int
	closed   bool

	closing sync.WaitGroup // accounts that are closed before their time
}

// slot is the place of one account. Whoever opens or closes it locks it.
type slot struct {
	dir      string
	busy     chan struct{} // has one element while it is locked
	account  *account      // changed by who holds both, read by who holds either
	refs     int           // guarded by Store.mu, as are the next ones
	idle     bool
	timer    *time.Timer
	detached bool // it is in Store.accounts no more
}

// lock waits until nobody else opens or closes the account.
func (p *slot) lock(ctx context.Context) error {
	select {
	case p.busy <- struct{}{}:
		return nil
	default:
	}
	select {
	case p.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *slot) unlock() { <-p.busy }

// New makes a Store with nothing open.
func New(o Options) *Store {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	roomy := time.Duration(0)
	if o.FS == nil {
		o.FS, roomy = OS{}, roomyFor
	}
	if o.Linger == 0 {
		o.Linger = defaultLinger
	}
	if o.MaxIdle == 0 {
		o.MaxIdle = defaultMaxIdle
	}
	if o.CacheSize <= 0 {
		o.CacheSize = defaultCacheSize
	}
	if o.MaxFiles <= 0 {
		o.MaxFiles = defaultMaxFiles()
	}
	if o.RewriteRate <= 0 {
		o.RewriteRate = defaultRewriteRate
	}
	if o.MinFree == 0 {
		o.MinFree = defaultMinFree
	}
	if o.limits == (limits{}) {
		o.limits = limits{segment: segmentMax, foldBytes: foldBytes, foldRecords: foldRecords, digests: digestMin}
	}
	s := &Store{
		options: o, codec: newCodec(o.CompressLevel), accounts: map[string]*slot{}, openings: map[*opening]struct{}{}, leaving: map[string]chan struct{}{}, ballasts: map[string]*ballast{}, roomyFor: roomy,
		memory: newLRU(o.CacheSize), files: newLRU(int64(o.MaxFiles)), opening: gate{free: maxOpening},
		syncer:  syncer{fs: o.FS, log: o.Log, now: o.Now, volumes: map[uint64]*syncVolume{}},
		windows: sync.Pool{New: func() any { b := make([]byte, scanWindow); return &b }},
	}
	for _, root := range o.Volumes {
		if root, err := filepath.Abs(root); err == nil { // else checkVolumes tells
			s.ballasts[root] = newBallast(&s.options, root)
		}
	}
	return s
}

func (s *Store) now() time.Time { return s.options.Now() }

// Account is a reference to one user's open mail. Each Open gives one of its own.
type Account struct {
	*account
	once  sync.Once
	owner string
}

// Open opens the mail of user in dir, which is made with an INBOX if it does not
// exist. All who open the same directory share one account. The caller closes
// the Account. An error is UNAVAILABLE and says nothing of why to the client.
func (s *Store) Open(ctx context.Context, user, dir string) (*Account, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, unavailable(err)
	}
	ctx, o, err := s.claim(ctx, user)
	if err != nil {
		return nil, err
	}
	defer s.opened(o)
	for {
		p, err := s.enter(ctx, dir)
		if err != nil {
			return nil, err
		}
		a, err := p.open(ctx, s, o)
		switch {
		case errors.Is(err, errStale):
			s.detach(p)
			s.leave(p)
		case err != nil:
			s.leave(p)
			s.options.Log.Error("account can't be opened", "user", user, "dir", dir, "error", err)
			return nil, unavailable(err)
		default:
			return &Account{account: a, owner: user}, nil
		}
	}
}

// errStale says that an account was opened under a right that is not ours of now.
var errStale = errors.New("opened under an earlier right")

// errOverdue says that an open has taken so long that its right is not ours any more.
var errOverdue = errors.New("opened meanwhile under a later right")

// enter takes a reference to the directory's slot. While an account there is being
// evicted it waits: until then that may acknowledge what an open would not see.
func (s *Store) enter(ctx context.Context, dir string) (*slot, error) {
	for {
		p, leaving, err := s.tryEnter(dir)
		if leaving == nil {
			return p, err
		}
		select {
		case <-leaving:
		case <-ctx.Done():
			return nil, unavailable(context.Cause(ctx))
		}
	}
}

func (s *Store) tryEnter(dir string) (p *slot, leaving <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, unavailable(errEnded)
	}
	if leaving := s.leaving[dir]; leaving != nil {
		return nil, leaving, nil
	}
	p = s.accounts[dir]
	if p == nil {
		p = &slot{dir: dir, busy: make(chan struct{}, 1)}
		s.accounts[dir] = p
	}
	p.refs++
	s.wake(p)
	return p, nil, nil
}

// wake ends an account's idleness. The caller holds s.mu.
func (s *Store) wake(p *slot) {
	if p.idle {
		p.idle = false
		s.idle--
		p.timer.Stop()
	}
}

// open opens the slot's account unless it is open.
func (p *slot) open(ctx context.Context, s *Store, o *opening) (*account, error) {
	if err := p.lock(ctx); err != nil {
		return nil, err
	}
	defer p.unlock()
	if s.isDetached(p) {
		return nil, errStale
	}
	if a := p.account; a != nil {
		if a.user != o.user {
			return nil, errors.New("the directory is open as the mail of " + a.user)
		}
		if err := a.outlived(o); err != nil {
			return nil, err
		}
		return a, a.wanted(ctx)
	}
	if err := s.opening.enter(ctx); err != nil {
		return nil, err
	}
	defer s.opening.leave()
	a, err := openAccount(s, p, o.user, &o.fence)
	if err != nil {
		return nil, err
	}
	a.opened()
	err = a.createInbox(ctx)
	if err == nil {
		err = a.wanted(ctx)
	}
	if err == nil {
		err = s.publish(p, a, o)
	}
	if err != nil {
		return nil, errors.Join(err, a.close(true))
	}
	return a, nil
}

// outlived compares the right that an account was opened under with a later one.
func (a *account) outlived(o *opening) error {
	switch {
	case !o.fence.claimed():
		return nil
	case o.fence.claim.Epoch() < a.epoch:
		return errOverdue
	case o.fence.claim.Epoch() > a.epoch || a.fence.ended.Load():
		a.giveUp(errStale)
		return errStale
	}
	return nil
}

// wanted is called when someone wants the account: what is due is begun, as
// perhaps nobody writes for long.
func (a *account) wanted(ctx context.Context) error {
	a.mu.RLock()
	broken, overdue := a.broken, a.overdue()
	a.mu.RUnlock()
	if broken != nil || !overdue {
		return broken
	}
	return a.submit(ctx, &txn{alone: true, run: func() error { a.upkeep(); return nil }})
}

// leave gives a reference back. After the last one the account lingers, or is
// closed at once.
func (s *Store) leave(p *slot) {
	s.mu.Lock()
	p.refs--
	if p.refs > 0 {
		s.mu.Unlock()
		return
	}
	if !p.detached && s.options.Linger > 0 && s.idle < s.options.MaxIdle && !s.closed {
		p.idle = true
		s.idle++
		p.timer = time.AfterFunc(s.options.Linger, func() { s.expire(p) })
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	s.expire(p)
}

// expire closes an account that nobody uses.
func (s *Store) expire(p *slot) {
	_ = p.lock(context.Background())
	defer p.unlock()
	s.mu.Lock()
	if p.refs > 0 {
		s.mu.Unlock()
		return
	}
	s.wake(p)
	s.mu.Unlock()
	if a := p.account; a != nil {
		s.clear(p)
		if err := a.close(true); err != nil {
			s.options.Log.Error("closing an account failed", "user", a.user, "dir", p.dir, "error", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.refs == 0 && s.accounts[p.dir] == p {
		delete(s.accounts, p.dir)
	}
}

// Close gives the reference back; sessions keep their own.
func (a *Account) Close() error {
	a.once.Do(func() { a.store.leave(a.slot) })
	return nil
}

// Close closes all accounts, with everything synced. Those in use are closed
// under the hands of their users, who get UNAVAILABLE.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	var all []*slot
	for _, p := range s.accounts {
		s.wake(p)
		all = append(all, p)
	}
	s.mu.Unlock()
	s.memory.close()
	s.files.close()
	s.closing.Wait()
	var errs []error
	for _, p := range all {
		errs = append(errs, s.closeSlot(context.Background(), p, true))
	}
	for _, b := range s.ballasts {
		b.wait()
	}
	return errors.Join(append(errs, s.syncer.close())...)
}

var errReadOnly = imap.Errorf(imap.CodeNoPerm, "Mailbox is read-only")
