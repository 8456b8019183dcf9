package cluster_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordmem"
	"github.com/roost-mail/roost/imap"
)

// gated is a Coordinator on the way to which commits wait while the gate is shut; they arrive late,
// whoever has given up waiting.
type gated struct {
	cluster.Coordinator

	mu    sync.Mutex
	shut  chan struct{} // closed when it opens; nil: it is open
	stuck int           // commits that wait
}

func (g *gated) Commit(ctx context.Context, t cluster.Txn) (cluster.Revision, bool, error) {
	g.mu.Lock()
	shut := g.shut
	if shut != nil {
		g.stuck++
	}
	g.mu.Unlock()
	if shut != nil {
		<-shut
	}
	return g.Coordinator.Commit(context.WithoutCancel(ctx), t)
}

func (g *gated) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = make(chan struct{})
}

// open lets all that wait go on, and says how many that were.
func (g *gated) open() (stuck int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
	}
	stuck, g.stuck, g.shut = g.stuck, 0, nil
	return stuck
}

// world is a cluster of backends in a synctest bubble, with one coordinator and one
// storage that all of them see.
type world struct {
	t     *testing.T
	clock *machine // the coordinator's
	mem   *coordmem.Memory
	admin *coordmem.Client
	nodes map[string]*node
	users []string
	tags  map[string]string // of backends
	probe string            // what names of probes begin with; "": there are none
	check cluster.CommitCheck
	logs  *lockedBuffer

	mu    sync.Mutex
	disks map[string]*disk // by user
}

// disk is what storage has of a user: who opened it last, and what of a commit's
// writes that one saw.
type disk struct {
	epoch  uint64
	holder string
}

// node is a backend with its own clock and way to the coordinator.
type node struct {
	w       *world
	name    string
	life    int
	client  *coordmem.Client
	gate    *gated // the holder's way to it
	machine *machine
	view    *cluster.View
	holder  *cluster.Holder
	stop    context.CancelFunc
	ended   chan error

	mu        sync.Mutex
	open      map[string]*cluster.Claim // accounts
	thrown    map[*cluster.Claim]bool   // of accounts that were thrown away, whose commits are not answered
	suspended bool
	dead      bool          // it was killed, or has ended
	hung      chan struct{} // sessions never end, nor does storage
	probeErr  error
}

// machine is a clock that can stand still, and a process that can be stopped: its
// timers fire when it goes on.
type machine struct {
	begun time.Time

	mu      sync.Mutex
	lost    time.Duration // the clock stood still for
	frozen  time.Duration // since when, if it does
	still   bool
	stopped chan struct{} // closed when it goes on
}

func (m *machine) Now() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.still {
		return m.frozen
	}
	return time.Since(m.begun) - m.lost
}

func (m *machine) After(d time.Duration) <-chan time.Time {
	c := make(chan time.Time, 1)
	time.AfterFunc(d, func() {
		m.running()
		c <- time.Now()
	})
	return c
}

// running returns when the process runs.
func (m *machine) running() {
	for {
		m.mu.Lock()
		stopped := m.stopped
		m.mu.Unlock()
		if stopped == nil {
			return
		}
		<-stopped
	}
}

func (m *machine) isStopped() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stopped != nil
}

// pause stops the process, and its clock too if it is a virtual machine's.
func (n *node) pause(clockToo bool) {
	n.client.Hang(true)
	m := n.machine
	now := m.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = make(chan struct{})
	m.still, m.frozen = clockToo, now
}

func (n *node) goOn() {
	m := n.machine
	m.mu.Lock()
	if m.still {
		m.lost, m.still = time.Since(m.begun)-m.frozen, false
	}
	if m.stopped != nil {
		close(m.stopped)
		m.stopped = nil
	}
	m.mu.Unlock()
	n.client.Hang(false)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func userHash(t testing.TB) cluster.Template {
	template, err := cluster.ParseTemplate("%u")
	if err != nil {
		t.Fatal(err)
	}
	return template
}

// inWorld runs f in a bubble with backends that have started and hold everything.
func inWorld(t *testing.T, names []string, f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		clock := &machine{begun: time.Now()}
		w := &world{t: t, clock: clock, mem: coordmem.New(clock), nodes: map[string]*node{}, disks: map[string]*disk{}, logs: &lockedBuffer{}}
		for i := range 40 {
			w.users = append(w.users, fmt.Sprintf("user%d", i))
		}
		w.admin = w.mem.Client()
		if _, err := cluster.Join(context.Background(), w.admin, cluster.NewParams("%u", "%u")); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			w.start(name)
		}
		w.settle()
		f(w)
		for _, n := range w.nodes {
			n.goOn()
			n.release()
			n.client.Cut(false)
			n.end()
		}
		w.mem.Close()
		if t.Failed() {
			log := w.logs.String()
			t.Log(log[max(0, len(log)-20000):])
		}
	})
}

// start starts a backend, anew if it was there before.
func (w *world) start(name string) *node {
	n := &node{w: w, name: name, client: w.mem.Client(), machine: &machine{begun: w.clock.begun}, open: map[string]*cluster.Claim{}, thrown: map[*cluster.Claim]bool{}, ended: make(chan error, 1)}
	if old := w.nodes[name]; old != nil {
		n.life = old.life + 1
	}
	n.gate = &gated{Coordinator: n.client}
	log := slog.New(slog.NewTextHandler(w.logs, nil)).With("at", name)
	n.view = cluster.NewView(cluster.ViewConfig{Coordinator: n.client, Clock: n.machine, Log: log})
	holder, err := cluster.NewHolder(cluster.HolderConfig{
		Coordinator: n.gate, View: n.view, Clock: n.machine, Log: log,
		Name: name, Incarnation: fmt.Sprint(name, "-", n.life),
		Registration: w.registration(name),
		Template:     userHash(w.t), CommitCheck: w.check,
		Release: n.releaseUsers, Users: n.usersHere, Probe: n.probe,
		Suspend: func(lost bool) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.suspended = lost
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	n.holder = holder
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	viewing, stopView := context.WithCancel(context.Background())
	go n.view.Run(viewing)
	go func() {
		n.ended <- holder.Run(ctx)
		stopView()
	}()
	w.nodes[name] = n
	return n
}

func (w *world) registration(name string) cluster.Registration {
	r := cluster.Registration{Host: "127.0.0.1", Volumes: []string{"v"}, Tag: w.tags[name]}
	if w.probe != "" {
		r.Probe = w.probe + name
	}
	return r
}

func (n *node) isDead() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dead
}

func (n *node) die() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dead = true
}

// end stops a backend cleanly.
func (n *node) end() {
	n.die()
	n.stop()
	if err := <-n.ended; err != nil && !errors.Is(err, context.Canceled) {
		n.w.t.Error(err)
	}
	n.ended <- nil
}

// kill has a backend vanish.
func (n *node) kill() {
	n.die()
	n.client.Cut(true)
	n.release()
	n.stop()
	<-n.ended
	n.ended <- nil
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.open)
}

func (n *node) usersHere() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Collect(maps.Keys(n.open))
}

func (n *node) releaseUsers(ctx context.Context, match func(string) bool) error {
	n.mu.Lock()
	hung := n.hung
	n.mu.Unlock()
	if hung != nil {
		<-hung
		return ctx.Err()
	}
	for _, user := range n.usersHere() {
		if match(user) {
			n.mu.Lock()
			delete(n.open, user)
			n.mu.Unlock()
		}
	}
	return nil
}

func (n *node) probe(context.Context) error {
	n.mu.Lock()
	hung, err := n.hung, n.probeErr
	n.mu.Unlock()
	if hung != nil {
		<-hung
	}
	return err
}

// hang has storage hang, and sessions with it.
func (n *node) hang() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hung == nil {
		n.hung = make(chan struct{})
	}
}

func (n *node) release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hung != nil {
		close(n.hung)
		n.hung = nil
	}
}

// account opens a user's account, if it is not open here yet.
func (n *node) account(user string) (*cluster.Claim, error) {
	n.mu.Lock()
	c := n.open[user]
	n.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c, err := n.holder.Claim(context.Background(), user)
	if err != nil {
		return nil, err
	}
	w := n.w
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.disks[user]
	if d == nil {
		d = &disk{}
		w.disks[user] = d
	}
	if c.Check() != nil {
		return nil, errors.New("gone")
	}
	behind := c.Epoch() < d.epoch
	if behind {
		c.Behind(d.holder, d.epoch)
	}
	if behind || c.Epoch() == d.epoch && d.holder != n.name {
		return nil, fmt.Errorf("%s at %s: epoch %d on disk by %s, ours is %d", user, n.name, d.epoch, d.holder, c.Epoch())
	}
	if d.holder != "" && d.holder != n.name && c.Alive(d.holder, d.epoch) {
		return nil, fmt.Errorf("%s at %s: open at %s in epoch %d", user, n.name, d.holder, d.epoch)
	}
	d.epoch, d.holder = c.Epoch(), n.name
	n.mu.Lock()
	n.open[user] = c
	n.mu.Unlock()
	return c, nil
}

// write commits to a user's mail as the store does: it is on disk between before
// and after, which take as long as they like. It reports whether that is acknowledged, and it fails the test if what is
// acknowledged is not seen by who opened the account meanwhile.
func (n *node) write(user string, before, after func()) bool {
	c, err := n.account(user)
	if err != nil {
		return false
	}
	if c.Check() != nil {
		n.forget(user, c)
		return false
	}
	before()
	w := n.w
	w.mu.Lock()
	seen := w.disks[user].epoch <= c.Epoch()
	by := *w.disks[user]
	w.mu.Unlock()
	after()
	if err := c.Confirm(context.Background()); err != nil {
		n.forget(user, c)
		return false
	}
	n.mu.Lock()
	thrown := n.thrown[c]
	n.mu.Unlock()
	if thrown {
		return false
	}
	if !seen {
		w.t.Errorf("%s acknowledged a write for %s in epoch %d after %s had opened it in epoch %d", n.name, user, c.Epoch(), by.holder, by.epoch)
	}
	return true
}

// forget throws an account away.
func (n *node) forget(user string, c *cluster.Claim) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.thrown[c] = true
	if n.open[user] == c {
		delete(n.open, user)
	}
}

func (n *node) isSuspended() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.suspended
}

func atOnce() {}

// killed kills a backend, and waits until its lease has ended.
func (w *world) killed(names ...string) {
	for _, name := range names {
		w.nodes[name].kill()
	}
	time.Sleep(cluster.DefaultTTL + time.Millisecond)
}

// settle waits until every slot is held, and no more changes.
func (w *world) settle() time.Duration {
	began := time.Now()
	for time.Since(began) < 30*time.Second {
		synctest.Wait()
		if w.settled() {
			return time.Since(began)
		}
		time.Sleep(50 * time.Millisecond)
	}
	w.t.Errorf("not settled after %v: %v", time.Since(began), w.held())
	return time.Since(began)
}

// settled says whether each node that can reach the coordinator sees that all slots
// are held by who should.
func (w *world) settled() bool {
	ok := true
	for _, n := range w.nodes {
		s := n.holder.Status()
		if n.isDead() || s.Lease != 0 && s.Left <= 0 {
			continue
		}
		ok = ok && s.Lease != 0
		n.view.Read(func(m *cluster.Map) {
			placement := m.Placement("")
			for slot := range cluster.Slot(cluster.Slots) {
				u := cluster.Unit{Slot: slot}
				held, _ := m.Held(u)
				if wanted := placement.Wanted(slot); !m.Holds(held) || wanted != "" && wanted != held.Backend {
					ok = false
					return
				}
			}
		})
	}
	return ok
}

// held counts the units of each node that has its lease.
func (w *world) held() map[string]int {
	counts := map[string]int{}
	for name, n := range w.nodes {
		if s := n.holder.Status(); s.Left > 0 && !n.isDead() {
			counts[name] = s.Held
		}
	}
	return counts
}

// at is where a user can be written to.
func (w *world) at(user string) string {
	var names []string
	for name, n := range w.nodes {
		if n.write(user, atOnce, atOnce) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, "+")
}

// everywhere writes for all users and fails if one can't be served.
func (w *world) everywhere() map[string]string {
	w.t.Helper()
	at := map[string]string{}
	for _, user := range w.users {
		at[user] = w.at(user)
		if at[user] == "" || strings.Contains(at[user], "+") {
			w.t.Errorf("%s is served by %q", user, at[user])
		}
	}
	return at
}

func (w *world) put(key string, value any) cluster.Revision {
	w.t.Helper()
	op := cluster.Op{Key: key}
	if value == nil {
		op.Delete = true
	} else {
		op.Value, _ = json.Marshal(value)
	}
	at, ok, err := w.admin.Commit(context.Background(), cluster.Txn{Then: []cluster.Op{op}})
	if err != nil || !ok {
		w.t.Fatal(ok, err)
	}
	return at
}

func (w *world) wish(name string, state cluster.State) cluster.Revision {
	return w.put("wishes/"+name, cluster.Wish{State: state, Weight: cluster.DefaultWeight})
}

func (w *world) pin(user, name string) {
	if name == "" {
		w.put("pins/"+user, nil)
		return
	}
	w.put("pins/"+user, cluster.Pin{Backend: name})
}

// wantLog fails unless the log has a text.
func (w *world) wantLog(text string) {
	w.t.Helper()
	if !strings.Contains(w.logs.String(), text) {
		w.t.Errorf("nothing in the log of %q", text)
	}
}

// moved is the Moved that err has, if it is what a Claim's error should be.
func moved(t *testing.T, err error) *cluster.Moved {
	t.Helper()
	var e *imap.Error
	var m *cluster.Moved
	if !errors.As(err, &e) || e.Code != imap.CodeUnavailable || !errors.As(err, &m) {
		t.Fatalf("error %v", err)
	}
	return m
}
