package admin

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/imap"
)

// Fixed is the cluster of a director without a coordinator: backends are those of the
// configuration, and what is changed is in the memory of this process alone. There
// are no leases, so nobody knows whether a backend is alive, and nothing moves by
// itself: users of a backend that is marked down get the next one because the
// administrator has said so.
type Fixed struct {
	where      *cluster.Adjusted
	sessions   Sessions
	log        *slog.Logger
	settleTime time.Duration

	mu      sync.Mutex // guards what follows, and is held while a change begins
	wishes  map[string]cluster.Wish
	pins    map[string]cluster.Pin
	closed  bool
	stop    chan struct{} // closed by Close
	running sync.WaitGroup
}

var _ Cluster = (*Fixed)(nil)

// NewFixed makes a Fixed. Close ends what it does by itself. settle is for how long a login
// may be under way to a backend: logins of users who move wait for it, and their sessions
// are looked for until then.
func NewFixed(where *cluster.Adjusted, sessions Sessions, log *slog.Logger, settle time.Duration) *Fixed {
	return &Fixed{
		where: where, sessions: sessions, log: log, settleTime: settle,
		wishes: map[string]cluster.Wish{}, pins: map[string]cluster.Pin{}, stop: make(chan struct{}),
	}
}

// Close lets a change that goes on be done at once, and waits for that.
func (f *Fixed) Close() {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.stop)
	}
	f.mu.Unlock()
	f.running.Wait()
}

// maxSettle is when logins go on even if old sessions have not ended.
const maxSettle = 30 * time.Second

// Backends implements Cluster.
func (f *Fixed) Backends(context.Context) ([]Backend, error) {
	members, _ := f.where.State()
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]Backend, 0, len(members))
	for _, m := range members {
		b := Backend{Host: m.Name, Address: address(m.Backend), Tag: m.Tag, Weight: m.Weight, State: cluster.Up}
		if m.Down {
			b.State = cluster.Down
		}
		if w, is := f.wishes[m.Name]; is {
			b.Since, b.By, b.Why = w.Since, w.By, w.Why
		}
		list = append(list, b)
	}
	slices.SortFunc(list, func(a, b Backend) int { return strings.Compare(a.Host, b.Host) })
	return list, nil
}

func address(b cluster.Backend) string {
	if b.Port == 0 {
		return b.IP.String()
	}
	return b.Addr(0).String()
}

// Place implements Cluster.
func (f *Fixed) Place(_ context.Context, user, tag string) (Place, error) {
	s := f.where.Spot(cluster.Query{User: user, Tag: tag})
	p := Place{User: user, Unit: fmt.Sprint(s.Hash), Hash: s.Hash, Current: s.Now.Name, State: "served", Hashed: s.Hashed.Name, Initial: s.Initial.Name}
	switch {
	case s.Changing:
		p.State = "moving"
	case s.Now.Name == "":
		p.State = "waiting"
	}
	if s.Moved {
		p.Pinned = s.Now.Name
	}
	return p, nil
}

// Pins implements Cluster.
func (f *Fixed) Pins(context.Context) (map[string]cluster.Pin, error) {
	_, moved := f.where.State()
	f.mu.Lock()
	defer f.mu.Unlock()
	pins := map[string]cluster.Pin{}
	for user, b := range moved {
		pin := f.pins[user]
		pin.Backend = b.Name
		pins[user] = pin
	}
	return pins, nil
}

// Wish implements Cluster. Weights and up or down can be wished.
func (f *Fixed) Wish(ctx context.Context, host string, change func(*cluster.Wish)) error {
	b, err := findBackend(ctx, f, host)
	if err != nil {
		return err
	}
	before := cluster.Wish{State: b.State, Weight: b.Weight, By: b.By, Since: b.Since, Why: b.Why}
	w := before
	if change(&w); w == before {
		return nil
	}
	if w.State == cluster.Drain {
		return imap.Wrap(imap.CodeCannot, "director drain needs a coordinator: cluster = … in the configuration; director down moves all users at once", nil)
	}
	return f.begin(func(members []cluster.Member, _ map[string]cluster.Backend) error {
		for i := range members {
			if members[i].Name == b.Host {
				members[i].Weight, members[i].Down = w.Weight, w.State == cluster.Down
			}
		}
		f.wishes[b.Host] = w
		return nil
	})
}

// Pin implements Cluster.
func (f *Fixed) Pin(_ context.Context, user, host, by string) error {
	if _, moved := f.where.State(); moved[user].Name == host {
		return nil
	}
	return f.begin(func(members []cluster.Member, moved map[string]cluster.Backend) error {
		i := slices.IndexFunc(members, func(m cluster.Member) bool { return m.Name == host })
		switch {
		case i < 0:
			return noHost(host)
		case len(moved) >= cluster.MaxPins:
			return imap.Errorf(imap.CodeLimit, "more than %d users are moved", cluster.MaxPins)
		}
		moved[user] = members[i].Backend
		f.pins[user] = cluster.Pin{Backend: host, By: by, Since: time.Now().UTC().Truncate(time.Second)}
		return nil
	})
}

// Unpin implements Cluster.
func (f *Fixed) Unpin(_ context.Context, users ...string) error {
	_, moved := f.where.State()
	if !slices.ContainsFunc(users, func(user string) bool { return moved[user].Name != "" }) {
		return nil
	}
	return f.begin(func(_ []cluster.Member, moved map[string]cluster.Backend) error {
		for _, user := range users {
			delete(moved, user)
			delete(f.pins, user)
		}
		return nil
	})
}

// begin changes where users are, and leaves it to a goroutine to end the sessions of
// those who move. change is called with f.mu held.
func (f *Fixed) begin(change func([]cluster.Member, map[string]cluster.Backend) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return imap.Errorf(imap.CodeUnavailable, "the server is shutting down")
	case f.where.Turn() != nil:
		return imap.Errorf(imap.CodeInUse, "another change is going on - try again later")
	}
	members, moved := f.where.State()
	if moved == nil {
		moved = map[string]cluster.Backend{}
	}
	if err := change(members, moved); err != nil {
		return err
	}
	turn, err := f.where.Begin(members, moved)
	if err != nil {
		return imap.Wrap(imap.CodeInUse, "not changed: "+err.Error(), err)
	}
	f.running.Go(func() { f.settle(turn, members) })
	return nil
}

// byeMoved is what clients of users who move hear; they find the other backend when
// they come back.
var byeMoved = imap.Errorf(imap.CodeUnavailable, "Moved to another server, please connect again")

// settle ends sessions until nobody is left, and no login can be under way.
func (f *Fixed) settle(turn *cluster.Turn, members []cluster.Member) {
	defer turn.End()
	began := time.Now()
	for {
		f.sessions.End(func(s *Session) bool { return leaves(turn, members, s) }, byeMoved)
		n := f.left(turn, members)
		switch took := time.Since(began); {
		case n == 0 && took >= f.settleTime:
			return
		case took >= maxSettle:
			f.log.Error("users move although their old sessions have not ended: state may now be inconsistent", "sessions", n, "after", took)
			return
		}
		select {
		case <-time.After(lookEvery):
		case <-f.stop:
			return
		}
	}
}

func (f *Fixed) left(turn *cluster.Turn, members []cluster.Member) (n int) {
	for s := range f.sessions.List() {
		if leaves(turn, members, &s) {
			n++
		}
	}
	return n
}

// leaves says whether a session is at a backend of which its user is no longer.
func leaves(turn *cluster.Turn, members []cluster.Member, s *Session) bool {
	if s.Backend == "" {
		return false
	}
	for _, m := range members {
		if s.Backend == m.Name {
			return turn.Leaves(cmp.Or(s.BackendUser, s.User), m)
		}
	}
	return false
}

// Await implements Cluster.
func (f *Fixed) Await(ctx context.Context, _ string, tell func(Progress)) error {
	members, _ := f.where.State()
	for {
		turn := f.where.Turn()
		if turn == nil {
			return nil
		}
		n := f.left(turn, members)
		tell(Progress{Doing: "sessions of users who move are ended", Sessions: &n})
		select {
		case <-turn.Done():
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// AwaitUser implements Cluster.
func (f *Fixed) AwaitUser(ctx context.Context, _ string, tell func(Progress)) error {
	return f.Await(ctx, "", tell)
}
