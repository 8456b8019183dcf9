// Package simworld has scenarios happen in a simulated world: nodes, clocks, network and
// disks live in one process, in a bubble whose time is simulated.
package simworld

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordmem"
	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/scenario"
	"github.com/roost-mail/roost/store"
)

// config is what a world is made of.
type config struct {
	seed        uint64
	marker      []byte // of the volume
	commitCheck cluster.CommitCheck
	rules       acl.Rules
	log         *slog.Logger
	logf        func(string, ...any)
}

// world is a scenario.World.
type world struct {
	start time.Time
	config
	dice       dice
	template   cluster.Template
	memory     *coordmem.Memory
	disk       *disk // with the mail of all users
	dictionary dictionary
	monitor    *monitor
	machines   map[string]*machine
	backends   []string
	directors  []string
	users      []string
	hops       imapclient.Counters // of connections between backends
	tasks      sync.WaitGroup

	admin    *coordmem.Client // the administrator's, never cut
	view     *cluster.View    // likewise
	snapshot *coordmem.Snapshot

	mu           sync.Mutex // guards what follows
	incarnations int
	groups       map[string][]string // by user
	begun        map[string]bool     // users who have the mailboxes of scenarios
	ended        bool
}

// newWorld is called in a bubble.
func newWorld(s *scenario.Scenario, c config) (*world, error) {
	w := &world{
		config: c, start: time.Now(), dice: dice{rnd: rand.New(rand.NewPCG(c.seed, 1))}, disk: newDisk(mountPoint),
		monitor: &monitor{last: map[string]right{}, own: map[owner]uint64{}}, machines: map[string]*machine{},
		groups: map[string][]string{}, begun: map[string]bool{}, backends: s.Backends, directors: s.Directors, users: s.UserNames(),
	}
	w.disk.names[filepath.Join(mountPoint, ".roost-volume")] = &inode{data: c.marker}
	w.memory = coordmem.New(w)
	w.dictionary.memory = dict.NewMemory()
	w.admin = w.memory.Client()
	w.view = cluster.NewView(cluster.ViewConfig{Coordinator: w.admin, Clock: w, Log: slog.New(slog.DiscardHandler)})
	for _, name := range s.Nodes() {
		w.machines[name] = newMachine(w, name)
	}
	var err error
	if w.template, err = cluster.ParseTemplate("%u"); err == nil {
		_, err = cluster.Join(context.Background(), w.admin, cluster.NewParams("%u", "%Lu"))
	}
	return w, err
}

// Now implements scenario.World and, for the coordinator, cluster.Clock.
func (w *world) Now() time.Duration { return time.Since(w.start) }

// After implements cluster.Clock.
func (w *world) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Sleep implements scenario.World.
func (w *world) Sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// delay is what anything takes, below some limit.
func (w *world) delay(limit time.Duration) { time.Sleep(time.Duration(w.dice.below(int64(limit)))) }

// Open implements scenario.World.
func (w *world) Open(ctx context.Context, user string) (scenario.Session, error) {
	return w.open(ctx, user)
}

func (w *world) open(ctx context.Context, user string) (through *proxied, err error) {
	err = w.through(func(d *director) error {
		s, err := d.open(ctx, user)
		if err == nil {
			through = &proxied{s, d, &relay{user, s.backend.machine.name, s.hangUp}}
			d.keep(through.relay)
		}
		return err
	})
	return through, err
}

// through tries one director after the other.
func (w *world) through(try func(*director) error) error {
	first := int(w.dice.below(int64(len(w.directors))))
	err := errors.New("no director answers")
	for i := range w.directors {
		p := w.machines[w.directors[(first+i)%len(w.directors)]].running()
		if p == nil {
			continue
		}
		if err = try(p.director); err == nil {
			return nil
		}
	}
	return err
}

// begin makes the mailboxes that scenarios work in, at a user's first login.
func (w *world) begin(ctx context.Context, s *session) error {
	w.mu.Lock()
	has := w.begun[s.user]
	w.mu.Unlock()
	if has {
		return nil
	}
	if err := s.mail.Create(ctx, "Other"); err != nil && imap.CodeOf(err) != imap.CodeAlreadyExists {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun[s.user] = true
	return nil
}

// groupsOf are a user's groups.
func (w *world) groupsOf(user string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.groups[user]
}

func (w *world) setGroups(user string, groups []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.groups[user] = groups
}

// verbs are the steps that this world can take.
func (w *world) verbs() map[string]func(context.Context, scenario.Step) error {
	each := func(do func(*machine) error) func(context.Context, scenario.Step) error {
		return func(_ context.Context, s scenario.Step) error { return w.each(s.Args, do) }
	}
	set := func(do func(*machine, bool) error, on bool) func(context.Context, scenario.Step) error {
		return each(func(m *machine) error { return do(m, on) })
	}
	return map[string]func(context.Context, scenario.Step) error{
		"start":    w.coordinatorOr(false, each((*machine).start)),
		"kill":     w.coordinatorOr(true, each((*machine).kill)),
		"term":     each((*machine).term),
		"stop":     set((*machine).stop, true),
		"continue": set((*machine).stop, false),
		"freeze":   set((*machine).freeze, true),
		"thaw":     set((*machine).freeze, false),
		"hang":     set((*machine).hang, true),
		"unhang":   set((*machine).hang, false),
		"unmount":  set((*machine).unmount, true),
		"mount":    set((*machine).unmount, false),
		"cut":      w.cut,
		"heal":     set((*machine).cutOff, false),
		"copy":     w.copy,
		"restore":  w.restore,
	}
}

// Can implements scenario.World.
func (w *world) Can(verb string) bool { return w.verbs()[verb] != nil }

// Cluster implements scenario.World.
func (w *world) Cluster() (cluster.Coordinator, *cluster.View) { return w.admin, w.view }

// Do implements scenario.World.
func (w *world) Do(ctx context.Context, s scenario.Step) error { return w.verbs()[s.Verb](ctx, s) }

func (w *world) each(names []string, do func(*machine) error) error {
	if slices.Equal(names, []string{"all"}) {
		names = slices.Concat(w.backends, w.directors)
	}
	for _, name := range names {
		if err := do(w.machines[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// coordinatorOr kills or starts the coordinator, or else does something to machines. It
// keeps what it knows; only nobody reaches it, and leases run anew when it is back.
func (w *world) coordinatorOr(off bool, nodes func(context.Context, scenario.Step) error) func(context.Context, scenario.Step) error {
	return func(ctx context.Context, s scenario.Step) error {
		if !slices.Equal(s.Args, []string{"coordinator"}) {
			return nodes(ctx, s)
		}
		if off {
			w.memory.Stop()
		} else {
			w.memory.Start()
		}
		return w.each([]string{"all"}, func(m *machine) error { return m.cutOff(off) })
	}
}

func (w *world) cut(_ context.Context, s scenario.Step) error {
	if s.Args[1] != "from" || s.Args[2] != "coordinator" {
		return errors.New("here a node can be cut only from the coordinator")
	}
	return w.machines[s.Args[0]].cutOff(true)
}

// copy takes down what the coordinator knows.
func (w *world) copy(context.Context, scenario.Step) error {
	w.snapshot = w.memory.Snapshot()
	return w.dictionary.takeCopy()
}

// restore has the coordinator be as it was then.
func (w *world) restore(_ context.Context, s scenario.Step) error {
	if s.Args[0] != "coordinator" || w.snapshot == nil {
		return errors.New("there is no copy of it")
	}
	w.memory.Restore(w.snapshot)
	return w.dictionary.restore()
}

func (w *world) newIncarnation(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.incarnations++
	return name + "-" + strconv.Itoa(w.incarnations)
}

// start starts a process, unless there is one.
func (m *machine) start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process != nil {
		return nil
	}
	p := &process{machine: m, incarnation: m.w.newIncarnation(m.name), client: m.w.memory.Client(), dead: make(chan struct{}), begun: make(chan struct{})}
	p.client.Cut(m.cut)
	p.ctx, p.end = context.WithCancel(context.Background())
	m.process = p
	m.w.tasks.Go(func() {
		err := p.begin()
		close(p.begun)
		if err != nil {
			m.w.log.Error("a process can't start", "node", m.name, "err", err)
			m.w.restart(p)
		}
	})
	return nil
}

// begin makes a process what it is. It has begun when it has a director or backend.
func (p *process) begin() error {
	m := p.machine
	p.view = cluster.NewView(cluster.ViewConfig{Coordinator: link{p, p.client}, Clock: p, Log: m.w.log.With("node", m.name)})
	p.tasks.Go(func() { p.view.Run(p.ctx) })
	if slices.Contains(m.w.directors, m.name) {
		p.becomeDirector()
		return nil
	}
	return p.becomeBackend()
}

// restart ends a process that can't go on, and starts another after a while.
func (w *world) restart(p *process) {
	p.machine.endProcess(p, true)
	time.Sleep(time.Second)
	w.mu.Lock()
	ended := w.ended
	w.mu.Unlock()
	if !ended {
		_ = p.machine.start()
	}
}

// current is the process, whether it answers or not.
func (m *machine) current() *process {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.process
}

// kill pulls the plug: what was not synced may be lost.
func (m *machine) kill() error {
	if p := m.current(); p != nil {
		m.endProcess(p, true)
	}
	return nil
}

// term ends the process as an administrator does.
func (m *machine) term() error {
	if p := m.current(); p != nil {
		m.endProcess(p, false)
	}
	return nil
}

// endProcess ends a process. It returns when a new one can be started.
func (m *machine) endProcess(p *process, kill bool) {
	m.mu.Lock()
	if m.process != p {
		m.mu.Unlock()
		return
	}
	m.process = nil
	m.pause(false, false)
	m.mu.Unlock()
	if kill {
		close(p.dead)
		p.client.Cut(true)
		m.w.disk.lose(p, m.w.dice.fork())
	}
	p.end()
	end := func() {
		<-p.begun
		if p.director != nil {
			p.director.close()
		}
		if p.backend != nil {
			if err := p.backend.close(); err != nil {
				m.w.log.Info("the mail was not closed", "node", m.name, "err", err)
			}
		}
	}
	if kill {
		m.w.tasks.Go(func() {
			end()
			p.tasks.Wait()
		})
		return
	}
	end()
	p.tasks.Wait()
}

// close ends everything.
func (w *world) close() {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	for _, m := range w.machines {
		_ = m.hang(false)
		_ = m.stop(false)
		_ = m.freeze(false)
		_ = m.term()
	}
	w.tasks.Wait()
	w.memory.Close()
	time.Sleep(time.Minute) // timers that nobody waits for end
}

// check looks at the mail of all users on the shared disk, as it is at the end.
func (w *world) check(t *testing.T, users []string) {
	dir := t.TempDir()
	if err := w.disk.export(mountPoint, dir); err != nil {
		t.Fatal(err)
	}
	for _, user := range users {
		home := filepath.Join(dir, "home", user)
		if _, err := os.Stat(home); err != nil {
			t.Errorf("%s has no mail", user)
			continue
		}
		var out strings.Builder
		if err := store.Check(home, &out); err != nil {
			t.Errorf("mail of %s: %v\n%s", user, err, out.String())
		}
	}
}
