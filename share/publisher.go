package share

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Home is an owner's mail as a Publisher sees it.
type Home interface {
	mailbox.Account
	mailbox.EntryKeeper
	mailbox.ShareLog
	mailbox.Metadata
	mailbox.Quota
}

// PublisherConfig says where to and how.
type PublisherConfig struct {
	Dict dict.Dict
	Log  *slog.Logger

	// Open opens an owner's mail, to publish what could not be published
	// while the owner's session lasted.
	Open func(ctx context.Context, owner string) (Home, error)

	Rules acl.Rules // which entries hold for a mailbox

	// Wait bounds how long a change waits for the dict before it is left to
	// the background. 0 means 5 seconds.
	Wait time.Duration

	// Retry is the first delay between attempts in the background, which
	// doubles up to a minute. 0 means 1 second.
	Retry time.Duration
}

// Publisher brings the dict into line with owners' homes. It runs one
// goroutine, for the owners whose changes could not be published; Close ends it.
type Publisher struct {
	cfg    PublisherConfig
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	wake   chan struct{}

	turns turns

	mu      sync.Mutex // guards what follows
	dirty   map[string]struct{}
	checked map[string]struct{} // owners whose entries were looked at since the start
}

// NewPublisher starts a Publisher.
func NewPublisher(cfg PublisherConfig) *Publisher {
	if cfg.Wait == 0 {
		cfg.Wait = 5 * time.Second
	}
	if cfg.Retry == 0 {
		cfg.Retry = time.Second
	}
	p := &Publisher{
		cfg: cfg, done: make(chan struct{}), wake: make(chan struct{}, 1),
		dirty: map[string]struct{}{}, checked: map[string]struct{}{}, turns: turns{held: map[string]chan struct{}{}},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	go p.run()
	return p
}

// Close ends the background work. What is not published yet is published when
// the owner's mail is next opened: the home remembers.
func (p *Publisher) Close() {
	p.cancel()
	<-p.done
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

// Opened is called when an account is opened. The first time the owner's entries
// are compared with the index, in the background: what a crash kept from
// being published is published then, and what was lost from the dict comes back.
func (p *Publisher) Opened(owner string) {
	p.mu.Lock()
	_, done := p.checked[owner]
	if len(p.checked) >= maxChecked {
		clear(p.checked)
	}
	p.checked[owner] = struct{}{}
	p.mu.Unlock()
	if !done {
		p.later(owner)
	}
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

// publish makes the dict say what home says. One owner's publications follow
// one another, so that an older one never wins.
func (p *Publisher) publish(ctx context.Context, owner string, home Home) error {
	release, err := p.turns.take(ctx, owner)
	if err != nil {
		return err
	}
	defer release()
	version, published := home.ShareVersion()
	boxes, err := p.boxes(ctx, home)
	if err != nil {
		return fmt.Errorf("read ACLs: %w", err)
	}
	want := wanted(owner, boxes)
	if version == published {
		if shown, err := p.shows(ctx, owner, want); shown || err != nil {
			return err
		}
		p.cfg.Log.Warn("sharing index does not show what the owner shares, it is mended", "owner", owner)
	}
	return p.write(ctx, owner, home, version, want)
}

// write makes the dict hold the keys of want and no others of owner's, as of version.
// The caller has owner's turn.
func (p *Publisher) write(ctx context.Context, owner string, home Home, version uint64, want map[string]string) error {
	have, err := p.current(ctx, owner)
	if err != nil {
		return fmt.Errorf("read the index: %w", err)
	}
	if changes := difference(have, want); len(changes) > 0 {
		if err := p.cfg.Dict.Commit(ctx, changes); err != nil {
			return fmt.Errorf("write the index: %w", err)
		}
	}
	return home.MarkShared(ctx, version)
}

// shows reports whether the index holds the keys of want, without looking for
// others that should not be there.
func (p *Publisher) shows(ctx context.Context, owner string, want map[string]string) (bool, error) {
	if len(want) == 0 {
		_, claims, err := p.cfg.Dict.Get(ctx, ownerPrefix+dict.Escape(owner))
		return !claims, err
	}
	for key, value := range want {
		have, ok, err := p.cfg.Dict.Get(ctx, key)
		if err != nil || !ok || have != value {
			return false, err
		}
	}
	return true, nil
}

// boxes are the entries that hold for each mailbox.
func (p *Publisher) boxes(ctx context.Context, home Home) (map[string][]mailbox.Entry, error) {
	names, err := home.Mailboxes(ctx)
	if err != nil {
		return nil, err
	}
	boxes := make(map[string][]mailbox.Entry, len(names))
	for _, name := range names {
		standing, err := home.Standing(ctx, name)
		if imap.CodeOf(err) == imap.CodeNonExistent {
			continue
		}
		if err != nil {
			return nil, err
		}
		if entries := p.cfg.Rules.Entries(standing); len(entries) > 0 {
			boxes[name] = entries
		}
	}
	return boxes, nil
}

// current are the keys that speak of owner now, Dovecot's among them.
func (p *Publisher) current(ctx context.Context, owner string) (map[string]string, error) {
	have := map[string]string{}
	suffix := "/" + dict.Escape(owner)
	err := p.cfg.Dict.Iterate(ctx, boxesPrefix, func(key, value string) error {
		if strings.HasSuffix(key, suffix) {
			have[key] = value
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = p.cfg.Dict.Iterate(ctx, boxesOf(owner), func(key, value string) error {
		have[key] = value
		return nil
	})
	if err != nil {
		return nil, err
	}
	key := ownerPrefix + dict.Escape(owner)
	if value, ok, err := p.cfg.Dict.Get(ctx, key); err != nil {
		return nil, err
	} else if ok {
		have[key] = value
	}
	return have, nil
}

// run publishes for owners that are dirty, with growing delays while that fails.
func (p *Publisher) run() {
	defer close(p.done)
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
			delay = min(2*delay, time.Minute)
		}
		delay = p.cfg.Retry
	}
}

// publishDirty tries each dirty owner once and reports whether none is left.
func (p *Publisher) publishDirty() bool {
	p.mu.Lock()
	owners := sortedKeys(p.dirty)
	clear(p.dirty)
	p.mu.Unlock()
	clean := true
	for _, owner := range owners {
		if err := p.publishOpening(owner); err != nil {
			if p.ctx.Err() == nil {
				p.cfg.Log.Error("sharing index not updated, will retry", "owner", owner, "error", err)
			}
			clean = false
			p.mu.Lock()
			p.dirty[owner] = struct{}{}
			p.mu.Unlock()
		}
	}
	return clean
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

// turns lets one goroutine at a time work on an owner.
type turns struct {
	mu   sync.Mutex // guards held
	held map[string]chan struct{}
}

func (t *turns) take(ctx context.Context, owner string) (release func(), err error) {
	for {
		t.mu.Lock()
		busy := t.held[owner]
		if busy == nil {
			mine := make(chan struct{})
			t.held[owner] = mine
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				delete(t.held, owner)
				t.mu.Unlock()
				close(mine)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
