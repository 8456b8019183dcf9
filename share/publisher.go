package share

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Home is an owner's mail as a Publisher sees it.
type Home interface {
	acl.Home
	mailbox.ShareLog
}

// PublisherConfig says where to and how.
type PublisherConfig struct {
	Dict dict.Dict
	Log  *slog.Logger

	// Open opens an owner's mail, to publish what could not be published
	// while the owner's session lasted.
	Open func(ctx context.Context, owner string) (Home, error)

	// Mended, if set, hears of each owner about whom a sweep found the index wrong, once
	// that is mended. It must not wait.
	Mended func(Drift)

	// Rules say which entries hold for an owner's mailboxes, as they are now. nil: the zero
	// Rules, for all owners. RulesChanged has to be called when they have changed.
	Rules func(ctx context.Context, owner string) (acl.Rules, error)

	// Exists says whether there is such a user; without it all do. Mine says
	// whether an owner's mail is this backend's, so that it publishes for the owner;
	// without it every owner's is whose mail it can open. It may be this backend's and
	// not open for a while, but not go and come back in the same epoch.
	Exists func(ctx context.Context, owner string) (bool, error)
	Mine   func(owner string) bool

	// Sweep is the time between two looks at the whole index, the first after that
	// time. 0 means never, but for RulesChanged.
	Sweep time.Duration

	// Wait bounds how long a change waits for the dict before it is left to
	// the background. 0 means 5 seconds.
	Wait time.Duration

	// Retry is the first delay between attempts in the background, which
	// doubles up to ten times as long. 0 means 1 second.
	Retry time.Duration
}

// Publisher brings the dict into line with owners' homes. It runs two goroutines,
// for the owners whose changes could not be published and for the sweeps; Close ends
// them.
type Publisher struct {
	cfg    PublisherConfig
	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	wake   chan struct{}
	look   chan struct{} // wakes the sweep

	turns turns
	drift atomic.Int64 // keys that the last sweep found wrong

	mu      sync.Mutex // guards what follows
	dirty   map[string]struct{}
	checked map[string]asOf // when owners' entries were looked at
	rules   uint64          // how often Rules have changed

	concerned []string // whose mail was open when they last did
}

// asOf is what an owner's keys were worked out from.
type asOf struct{ epoch, rules uint64 }

// NewPublisher starts a Publisher.
func NewPublisher(cfg PublisherConfig) *Publisher {
	if cfg.Wait == 0 {
		cfg.Wait = 5 * time.Second
	}
	if cfg.Retry == 0 {
		cfg.Retry = time.Second
	}
	p := &Publisher{
		cfg: cfg, wake: make(chan struct{}, 1), look: make(chan struct{}, 1),
		dirty: map[string]struct{}{}, checked: map[string]asOf{}, turns: turns{held: map[string]chan struct{}{}},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.tasks.Go(p.run)
	p.tasks.Go(p.sweep)
	return p
}

// Close ends the background work. What is not published yet is published when
// the owner's mail is next opened: the home remembers.
func (p *Publisher) Close() {
	p.cancel()
	p.tasks.Wait()
}

// Published waits until the index shows owner's last change, if the dict
// answers in time; otherwise the change is published in the background. It
// never fails: the change itself is durable in the owner's home.
func (p *Publisher) Published(ctx context.Context, owner string, home Home) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Wait)
	defer cancel()
	if err := p.publish(ctx, owner, home); err != nil {
		p.cfg.Log.Error("sharing index not updated, will retry", "owner", owner, "error", err)
		p.later(owner)
	}
}

// maxChecked bounds the memory of who was looked at; who is forgotten is looked
// at once more.
const maxChecked = 1 << 20

// Opened is called when an account is opened. The first time in an epoch, and whenever
// something is not published yet, the owner's entries are compared with the index, in the
// background: what a crash, a takeover or a lapse of the right to the mail kept from being
// published is published then, and what was lost from the dict comes back.
func (p *Publisher) Opened(owner string, home Home) {
	state := home.ShareState()
	now := asOf{epoch: state.Epoch}
	p.mu.Lock()
	now.rules = p.rules
	last, seen := p.checked[owner]
	if len(p.checked) >= maxChecked {
		clear(p.checked)
	}
	p.checked[owner] = now
	p.mu.Unlock()
	if !seen || last != now || state.Version != state.Published {
		p.later(owner)
	}
}

// RulesChanged has the index follow Rules that say something else now, in the background:
// for those of whom it speaks and those who are open soon, for others when their mail is
// next opened.
func (p *Publisher) RulesChanged(open []string) {
	p.mu.Lock()
	p.rules++
	p.concerned = open
	p.mu.Unlock()
	select {
	case p.look <- struct{}{}:
	default:
	}
}

func (p *Publisher) mine(owner string) bool { return p.cfg.Mine == nil || p.cfg.Mine(owner) }

// known says whether an owner's mail is surely this backend's: if nothing else tells, because
// it was opened here.
func (p *Publisher) known(owner string) bool {
	if p.cfg.Mine != nil {
		return p.cfg.Mine(owner)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, opened := p.checked[owner]
	return opened
}

func (p *Publisher) later(owner string) {
	p.mu.Lock()
	p.dirty[owner] = struct{}{}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// maxRetries bounds the delay between attempts, so that little is wrong for long when the
// dict is back.
const maxRetries = 10

// run publishes for owners that are dirty, with growing delays while that fails.
func (p *Publisher) run() {
	delay := p.cfg.Retry
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-p.wake:
		}
		for !p.publishDirty() {
			select {
			case <-p.ctx.Done():
				return
			case <-time.After(delay):
			}
			delay = min(2*delay, maxRetries*p.cfg.Retry)
		}
		if delay > p.cfg.Retry {
			p.cfg.Log.Info("sharing index is updated again")
		}
		delay = p.cfg.Retry
	}
}

// publishDirty tries each dirty owner once and reports whether none is left. What fails is
// said in one line, however many owners there are.
func (p *Publisher) publishDirty() bool {
	p.mu.Lock()
	owners := sortedKeys(p.dirty)
	clear(p.dirty)
	p.mu.Unlock()
	var failed []string
	var why error
	for _, owner := range owners {
		if !p.mine(owner) {
			continue // whoever has the mail now publishes
		}
		err := p.publishOpening(owner)
		if imap.CodeOf(err) == imap.CodeNonExistent {
			p.cfg.Log.Info("sharing index not updated: the owner is no user any more", "owner", owner)
			p.forget(owner)
			continue
		}
		if err != nil {
			failed, why = append(failed, owner), err
			p.mu.Lock()
			p.dirty[owner] = struct{}{}
			p.mu.Unlock()
		}
	}
	if n := len(failed); n > 0 && p.ctx.Err() == nil {
		p.cfg.Log.Error("sharing index not updated, will retry", "owners", n, "owner", failed[n-1], "error", why)
	}
	return len(failed) == 0
}

// forget has an owner be looked at when their mail is next opened.
func (p *Publisher) forget(owner string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.checked, owner)
}

func (p *Publisher) publishOpening(owner string) (err error) {
	ctx, cancel := context.WithTimeout(p.ctx, p.cfg.Wait)
	defer cancel()
	home, err := p.cfg.Open(ctx, owner)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, home.Close()) }()
	return p.publish(ctx, owner, home)
}
