package main

import (
	"context"
	"fmt"
	"strconv"
	"syscall"
	"time"

	"github.com/roost-mail/roost/scenario"
)

// worldFault is something that happens to a node, and how it is undone.
type worldFault struct {
	name     string
	do, undo func(w *processWorld, n *worldNode) error
	backend  bool // happens to backends only
}

func worldFaults() []worldFault {
	restart := func(w *processWorld, n *worldNode) error { return w.start(n) }
	signal := func(sig syscall.Signal) func(*processWorld, *worldNode) error {
		return func(_ *processWorld, n *worldNode) error {
			n.stopped = sig == syscall.SIGSTOP
			return n.process.Process.Signal(sig)
		}
	}
	end := func(sig syscall.Signal) func(*processWorld, *worldNode) error {
		return func(w *processWorld, n *worldNode) error { w.end(n, sig); return nil }
	}
	cut := func(w *processWorld, n *worldNode) error { return w.network.cut(n.name, "coordinator") }
	heal := func(w *processWorld, n *worldNode) error { return w.network.heal(n.name) }
	return []worldFault{
		{"kill", end(syscall.SIGKILL), restart, false},
		{"term", end(syscall.SIGTERM), restart, false},
		{"stop", signal(syscall.SIGSTOP), signal(syscall.SIGCONT), false},
		{"cut", cut, heal, false},
		{"kill", end(syscall.SIGKILL), restart, true},
		{"stop", signal(syscall.SIGSTOP), signal(syscall.SIGCONT), true},
	}
}

// random has faults happen, one after the other and sometimes several at a time, and
// undoes them. Never are all backends, or all directors, in trouble at once.
func (w *processWorld) random(ctx context.Context, s scenario.Step) error {
	count, err := strconv.Atoi(s.Args[0])
	if err != nil {
		return err
	}
	type trouble struct {
		fault worldFault
		until time.Duration
	}
	in := map[*worldNode]trouble{}
	undo := func(now time.Duration) error {
		for n, tr := range in {
			if tr.until <= now {
				w.t.Logf("%6.1fs   undo %s %s", now.Seconds(), tr.fault.name, n.name)
				if err := tr.fault.undo(w, n); err != nil {
					return fmt.Errorf("undo %s %s: %w", tr.fault.name, n.name, err)
				}
				delete(in, n)
			}
		}
		return nil
	}
	pause := s.Within / time.Duration(count)
	all := worldFaults()
	for range count {
		f := all[w.rand.IntN(len(all))]
		n := w.victim(f.backend, func(n *worldNode) bool { _, busy := in[n]; return busy })
		if n != nil {
			// Some faults are shorter than a lease, some longer.
			in[n] = trouble{f, w.Now() + time.Duration(w.rand.Int64N(int64(9*time.Second)))}
			w.t.Logf("%6.1fs   %s %s", w.Now().Seconds(), f.name, n.name)
			if err := f.do(w, n); err != nil {
				return fmt.Errorf("%s %s: %w", f.name, n.name, err)
			}
		}
		w.Sleep(ctx, pause/2+time.Duration(w.rand.Int64N(int64(pause))))
		if err := undo(w.Now()); err != nil {
			return err
		}
	}
	return undo(1<<63 - 1)
}

// victim is a node that is well, and whose trouble leaves one of its kind; nil if none.
func (w *processWorld) victim(backend bool, busy func(*worldNode) bool) *worldNode {
	if !backend && w.rand.IntN(2) == 0 {
		backend = true
	}
	kind := w.directors
	if backend {
		kind = w.backends
	}
	var well []*worldNode
	for _, name := range kind {
		if n := w.nodes[name]; !busy(n) {
			well = append(well, n)
		}
	}
	if len(well) < 2 {
		return nil
	}
	return well[w.rand.IntN(len(well))]
}
