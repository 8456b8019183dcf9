package simworld

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapserver"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/moving"
	"github.com/roost-mail/roost/namespace"
	"github.com/roost-mail/roost/remote"
	"github.com/roost-mail/roost/share"
	"github.com/roost-mail/roost/store"
)

// dictionary is what all backends keep the sharing index in. It lives where the
// coordinator does, and can be away by itself too.
type dictionary struct {
	memory *dict.Memory
	away   atomic.Bool

	mu   sync.Mutex        // guards copied
	copy map[string]string // what it held then
}

// contents are all keys.
func (d *dictionary) contents() (map[string]string, error) {
	all := map[string]string{}
	err := d.memory.Iterate(context.Background(), dict.Root, func(key, value string) error {
		all[key] = value
		return nil
	})
	return all, err
}

func (d *dictionary) takeCopy() error {
	all, err := d.contents()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.copy = all
	return err
}

// restore has it be as it was then.
func (d *dictionary) restore() error {
	now, err := d.contents()
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var changes []dict.Change
	for key, value := range d.copy {
		changes = append(changes, dict.Set(key, value))
	}
	for key := range now {
		if _, was := d.copy[key]; !was {
			changes = append(changes, dict.Unset(key))
		}
	}
	if len(changes) == 0 {
		return nil
	}
	return d.memory.Commit(context.Background(), changes)
}

// dictLink is a process's way to the dictionary.
type dictLink struct {
	p *process
	d *dictionary
}

var errDictAway = errors.New("the dictionary does not answer")

// answerTime is how long a dictionary that is away is waited for.
const answerTime = time.Second

// call asks. If the dictionary goes away meanwhile, what was asked for is done, and nobody
// knows.
func (l dictLink) call(ctx context.Context, ask func() error) error {
	if err := l.p.pass(); err != nil {
		return err
	}
	l.p.machine.w.delay(roundTrip)
	if err := l.reach(ctx); err != nil {
		return err
	}
	err := ask()
	l.p.machine.w.delay(roundTrip)
	if dead := l.p.pass(); dead != nil {
		return dead
	}
	return errors.Join(err, l.reach(ctx))
}

// reach says whether the dictionary can be reached.
func (l dictLink) reach(ctx context.Context) error {
	if !l.d.away.Load() && !l.p.machine.isCut() {
		return nil
	}
	select {
	case <-time.After(answerTime):
		return errDictAway
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Get implements dict.Dict.
func (l dictLink) Get(ctx context.Context, key string) (value string, ok bool, err error) {
	err = l.call(ctx, func() error {
		value, ok, err = l.d.memory.Get(ctx, key)
		return err
	})
	return value, ok, err
}

// Iterate implements dict.Dict.
func (l dictLink) Iterate(ctx context.Context, prefix string, fn func(key, value string) error) error {
	return l.call(ctx, func() error { return l.d.memory.Iterate(ctx, prefix, fn) })
}

// Commit implements dict.Dict.
func (l dictLink) Commit(ctx context.Context, changes []dict.Change, conditions ...dict.Condition) error {
	return l.call(ctx, func() error { return l.d.memory.Commit(ctx, changes, conditions...) })
}

// Version implements dict.Versioner.
func (l dictLink) Version(ctx context.Context) (version string, err error) {
	err = l.call(ctx, func() error {
		version, err = l.d.memory.Version(ctx)
		return err
	})
	return version, err
}

// Close implements dict.Dict.
func (l dictLink) Close() error { return nil }

// sharing is what of a backend others' mail is reached by, and what tells of it.
type sharing struct {
	mirror    *dict.Mirror
	index     *share.Index
	publisher *share.Publisher
	server    *imapserver.Server // of back sessions
}

// sweepTime is between two looks at the whole index. It is too long for a sweep to mend what
// should be right without.
const sweepTime = time.Hour

func (b *backend) startSharing() {
	w := b.machine.w
	log := w.log.With("node", b.machine.name)
	s := &b.sharing
	s.mirror = dict.NewMirror(dictLink{b.process, &w.dictionary}, dict.MirrorOptions{Log: log})
	s.index = share.NewIndex(s.mirror, log)
	s.publisher = share.NewPublisher(share.PublisherConfig{
		Dict: s.mirror.Writer(), Log: log, Open: b.openHome, Rules: func(context.Context, string) (acl.Rules, error) { return w.rules, nil }, Mine: b.holder.Keeps, Sweep: sweepTime,
	})
	s.server = imapserver.New(imapserver.Config{Log: log, Authenticator: b})
}

// stopSharing is called before the mail is closed.
func (b *backend) stopSharing() error {
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	err := b.sharing.server.Shutdown(ctx)
	b.sharing.publisher.Close()
	b.sharing.mirror.Close()
	return err
}

func (b *backend) holds(user string) bool { return b.holder.Holds(user) }

// openHome opens an owner's mail to publish what it shares.
func (b *backend) openHome(ctx context.Context, owner string) (share.Home, error) {
	return b.openSession(ctx, owner, owner)
}

func (b *backend) openSession(ctx context.Context, owner, acting string) (*store.Session, error) {
	account, err := b.store.Open(ctx, owner, filepath.Join(mountPoint, "home", owner))
	if err != nil {
		return nil, err
	}
	defer account.Close() //nolint:errcheck // the session has its own reference
	return account.As(store.View{Acting: acting}), nil
}

// openPublishing opens an owner's mail, whose changes are published.
func (b *backend) openPublishing(ctx context.Context, owner, acting string) (*share.Publishing, error) {
	home, err := b.openSession(ctx, owner, acting)
	if err != nil {
		return nil, err
	}
	b.sharing.publisher.Opened(owner, home)
	return share.NewPublishing(b.sharing.publisher, owner, home), nil
}

func (b *backend) openGuarded(ctx context.Context, owner, acting string) (*acl.Guard, error) {
	home, err := b.openPublishing(ctx, owner, acting)
	if err != nil {
		return nil, err
	}
	w := b.machine.w
	who := acl.Identity{Owner: owner, Acting: acting, Groups: w.groupsOf(acting)}
	return acl.NewGuard(home, who, acl.Options{Rules: w.rules, AllowAnyone: true}), nil
}

// membership is in which groups a user was at the login. Whoever is in others logs in anew.
type membership []string

// Groups implements mailbox.Membership.
func (m membership) Groups() []string { return m }

// Watch implements mailbox.Membership.
func (membership) Watch(func()) (stop func()) { return func() {} }

// sharedRoot is below which others' mail is.
const sharedRoot = "shared/"

// openTree opens a user's mail, with others' below sharedRoot.
func (b *backend) openTree(ctx context.Context, user string) (*namespace.Tree, error) {
	own, err := b.openGuarded(ctx, user, user)
	if err != nil {
		return nil, err
	}
	w := b.machine.w
	shared := namespace.Shared{
		Root: sharedRoot, Index: b.sharing.index,
		Match: func(name string) (owner, rest string, ok bool) {
			owner, rest, _ = strings.Cut(strings.TrimPrefix(name, sharedRoot), "/")
			return owner, rest, owner != ""
		},
		Prefix: func(owner string) string { return sharedRoot + owner + "/" },
		Open:   func(owner string) mailbox.Complete { return b.others(owner, user) },
	}
	return namespace.New(namespace.Config{
		User: user, Groups: membership(w.groupsOf(user)), Own: own, Shared: []namespace.Shared{shared}, Log: w.log,
	}), nil
}

// others is another owner's mail, in this process while it holds the owner.
func (b *backend) others(owner, acting string) mailbox.Complete {
	return moving.New(moving.Config{
		Owner: owner, Log: b.machine.w.log,
		Here:    func() bool { return b.holds(owner) },
		Open:    func(ctx context.Context) (moving.Home, error) { return b.openGuarded(ctx, owner, acting) },
		Arrived: remote.Arrived,
		Elsewhere: func() moving.Home {
			return remote.New(remote.Config{
				Owner: owner, Acting: acting, Password: "secret", Log: b.machine.w.log,
				Dial: func(ctx context.Context) (*imapclient.Conn, error) {
					conn, err := b.dial(ctx, owner)
					if err != nil {
						return nil, err
					}
					return imapclient.New(ctx, conn, imapclient.Config{Timeout: 30 * time.Second, Counters: &b.machine.w.hops})
				},
			})
		},
	})
}

// dial connects through some director with the backend that holds an owner.
func (b *backend) dial(ctx context.Context, owner string) (conn net.Conn, err error) {
	if err := b.pass(); err != nil {
		return nil, err
	}
	err = b.machine.w.through(func(d *director) error {
		return d.find(ctx, owner, func(ctx context.Context, to cluster.Backend) (err error) {
			conn, err = d.connect(ctx, b.process, owner, to)
			return err
		})
	})
	return conn, err
}

// connect joins a backend with one that says that it holds an owner.
func (d *director) connect(ctx context.Context, from *process, owner string, to cluster.Backend) (net.Conn, error) {
	w := d.machine.w
	p := w.machines[to.Name].current()
	if p == nil || !p.takesConnections() {
		return nil, errBroken
	}
	_, err := ask(ctx, p, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, p.backend.holder.Serves(ctx, owner, to.Revision)
	}, func(struct{}) {})
	if err != nil {
		return nil, err
	}
	l := bufconn.Listen(64 << 10)
	defer l.Close() //nolint:errcheck // never fails
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, _ := l.Accept()
		accepted <- conn
	}()
	near, err := l.DialContext(ctx)
	if err != nil {
		return nil, err
	}
	far := <-accepted
	r := &relay{user: owner, backend: to.Name}
	var stops []func() bool
	for _, end := range []*process{from, d.process, p} {
		stops = append(stops, context.AfterFunc(end.ctx, func() { _ = near.Close() }))
	}
	r.hangUp = func() { _ = near.Close() }
	d.keep(r)
	w.tasks.Go(func() {
		p.backend.sharing.server.ServeConn(context.Background(), &wire{far, p})
		d.forget(r)
		for _, stop := range stops {
			stop()
		}
	})
	return &wire{near, from}, nil
}

// wire is one end of a connection, which hears and says nothing while its process is stopped.
type wire struct {
	net.Conn
	p *process
}

// Read implements net.Conn.
func (c *wire) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, errors.Join(err, c.p.pass())
}

// Write implements net.Conn.
func (c *wire) Write(b []byte) (int, error) {
	if err := c.p.pass(); err != nil {
		return 0, err
	}
	c.p.machine.w.delay(roundTrip)
	return c.Conn.Write(b)
}

// Login implements imapserver.Authenticator, for other backends.
func (b *backend) Login(ctx context.Context, _ *imapserver.Client, cred imapserver.Credentials) (*imapserver.Login, error) {
	owner := cred.AuthzID
	if err := b.holder.Serves(ctx, owner, 0); err != nil {
		return nil, imap.Wrap(imap.CodeUnavailable, "Account is temporarily unavailable.", err)
	}
	guard, err := b.openGuarded(ctx, owner, cred.AuthID)
	if err != nil {
		return nil, err
	}
	return &imapserver.Login{User: owner, Acting: cred.AuthID, Account: guard}, nil
}

// endBackSessions ends those of matching owners.
func (b *backend) endBackSessions(match func(owner string) bool) {
	b.sharing.server.End(func(s imapserver.SessionInfo) bool { return s.User != "" && match(s.User) }, errMoves)
}

// Drift implements scenario.World. Those who can't reach the dictionary hold nobody.
func (w *world) Drift(ctx context.Context) (string, error) {
	seen := map[string]int{}
	var wrong []string
	all, err := w.dictionary.contents()
	if err != nil {
		return "", err
	}
	for _, name := range w.backends {
		p := w.machines[name].running()
		switch {
		case w.machines[name].isCut():
			continue
		case p == nil:
			return "", fmt.Errorf("%s is off", name)
		}
		tell := func(d share.Drift) {
			seen[d.Owner]++
			if len(d.Changes) > 0 || d.Err != nil {
				wrong = append(wrong, fmt.Sprintf("%s of %s: %v %v", name, d.Owner, d.Changes, d.Err))
			}
		}
		if _, err := p.backend.sharing.publisher.Verify(ctx, w.users, false, tell); err != nil {
			return "", err
		}
		copied := map[string]string{}
		err := p.backend.sharing.mirror.Iterate(ctx, dict.Root, func(key, value string) error {
			copied[key] = value
			return nil
		})
		if err != nil {
			return "", err
		}
		if !maps.Equal(copied, all) {
			wrong = append(wrong, fmt.Sprintf("%s has an old copy (%v): %v, not %v", name, p.backend.sharing.mirror.Failing(), copied, all))
		}
	}
	for _, user := range w.users {
		if seen[user] != 1 {
			wrong = append(wrong, fmt.Sprintf("%d backends answer for %s", seen[user], user))
		}
	}
	return strings.Join(wrong, "; "), nil
}
