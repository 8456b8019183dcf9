package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/idle"
	"github.com/roost-mail/roost/store"
)

// pulse tries again and again whether what a process hangs on still runs: its main
// loop, the locks that all sessions take, the poller that wakes them, and the
// filesystems of the mail.
type pulse struct {
	clock cluster.Clock

	mu      sync.Mutex // guards what follows
	beats   []*beat
	volumes []store.Volume // at the last look
}

// beat is one of what is tried.
type beat struct {
	name    string
	vital   bool // without it the process is of no use, and is better ended
	try     func(context.Context)
	running bool
	last    time.Duration // when it last succeeded
}

const (
	pulseInterval = 3 * time.Second
	// pulseLimit is how long something may take before it counts as hanging.
	pulseLimit = 20 * time.Second
)

func newPulse(clock cluster.Clock) *pulse { return &pulse{clock: clock} }

// add has something tried by run, which try ends when its ctx does.
func (p *pulse) add(name string, vital bool, try func(context.Context)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.beats = append(p.beats, &beat{name: name, vital: vital, try: try, last: p.clock.Now()})
}

// run tries all that was added, until ctx ends. What hangs is not tried again, and
// not waited for.
func (p *pulse) run(ctx context.Context) {
	for ctx.Err() == nil {
		p.mu.Lock()
		for _, b := range p.beats {
			if !b.running {
				b.running = true
				go p.beat(ctx, b)
			}
		}
		p.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-p.clock.After(pulseInterval):
		}
	}
}

func (p *pulse) beat(ctx context.Context, b *beat) {
	b.try(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	b.running = false
	if ctx.Err() == nil {
		b.last = p.clock.Now()
	}
}

// late says which vital parts hang, and for how long; "" is none.
func (p *pulse) late() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var words []string
	for _, b := range p.beats {
		if reason := b.hangs(p.clock.Now()); reason != "" && b.vital {
			words = append(words, b.name+": "+reason)
		}
	}
	return strings.Join(words, ", ")
}

// hangs is late for one of them, vital or not.
func (p *pulse) hangs(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.beats {
		if b.name == name {
			return b.hangs(p.clock.Now())
		}
	}
	return ""
}

// hangs says for how long, or "".
func (b *beat) hangs(now time.Duration) string {
	if now-b.last <= pulseLimit {
		return ""
	}
	return fmt.Sprintf("no answer for %d s", (now-b.last)/time.Second)
}

// lookAtVolumes keeps what there is to be known of them.
func (p *pulse) lookAtVolumes(s *store.Store) {
	volumes := s.Volumes()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.volumes = volumes
}

func (p *pulse) lastVolumes() []store.Volume {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.volumes
}

// addNode has the parts of a node tried.
func (p *pulse) addNode(n *parts) {
	p.add("sessions", true, func(context.Context) { n.imap.Counts() })
	p.add("store", true, func(context.Context) { n.store.Stats() })
	p.add("poller", true, func(ctx context.Context) { tryPoller(ctx, n.poller) })
	p.add("mail_volume", false, func(context.Context) { p.lookAtVolumes(n.store) })
}

// tryPoller returns when a wait whose time is over was ended, as that of a session is.
func tryPoller(ctx context.Context, poller *idle.Poller) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return // it says nothing of the poller
	}
	defer unix.Close(pair[1]) //nolint:errcheck // nothing was written
	file := os.NewFile(uintptr(pair[0]), "pulse")
	conn, err := net.FileConn(file)
	_ = file.Close()
	if err != nil {
		return
	}
	defer conn.Close() //nolint:errcheck // nothing was written
	ended := make(chan struct{})
	ticket, err := poller.Ticket(conn.(*net.UnixConn), func() { close(ended) })
	if err != nil || ticket.Arm(time.Now()) != nil {
		return
	}
	select {
	case <-ended:
	case <-ctx.Done():
		ticket.Wake()
		<-ended
	}
}
