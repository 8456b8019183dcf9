package simworld

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/scenario"
)

// fault is something that happens to a machine, and how it is undone.
type fault struct {
	name     string
	do, undo func(*machine) error
	backend  bool // happens to backends only
}

func faults() []fault {
	set := func(do func(*machine, bool) error, on bool) func(*machine) error {
		return func(m *machine) error { return do(m, on) }
	}
	wish := func(verb string) func(*machine) error {
		return func(m *machine) error {
			return m.w.wish(context.Background(), scenario.Step{Verb: verb, Args: []string{m.name}})
		}
	}
	return []fault{
		{"kill", (*machine).kill, (*machine).start, false},
		{"term", (*machine).term, (*machine).start, false},
		{"stop", set((*machine).stop, true), set((*machine).stop, false), false},
		{"freeze", set((*machine).freeze, true), set((*machine).freeze, false), false},
		{"cut", set((*machine).cutOff, true), set((*machine).cutOff, false), false},
		{"kill", (*machine).kill, (*machine).start, true},
		{"stop", set((*machine).stop, true), set((*machine).stop, false), true},
		{"freeze", set((*machine).freeze, true), set((*machine).freeze, false), true},
		{"hang", set((*machine).hang, true), set((*machine).hang, false), true},
		{"unmount", set((*machine).unmount, true), set((*machine).unmount, false), true},
		{"drain", wish("drain"), wish("up"), true},
		{"down", wish("down"), wish("up"), true},
	}
}

// longest is how long a fault lasts at most; most are shorter than a lease or somewhat longer.
const longest = 15 * time.Second

// random has faults happen, sometimes several at a time, and undoes them. Never are all
// backends, or all directors, in trouble at once. Now and then a user is pinned, or no more.
func (w *world) random(ctx context.Context, s scenario.Step) error {
	count, err := strconv.Atoi(s.Args[0])
	if err != nil {
		return err
	}
	type trouble struct {
		fault
		until time.Duration
	}
	in := map[string]trouble{}
	undo := func(now time.Duration) error {
		for _, name := range slices.Concat(w.backends, w.directors) {
			if tr, is := in[name]; is && tr.until <= now {
				w.logf("%6.1fs   undo %s %s", w.Now().Seconds(), tr.name, name)
				if err := tr.undo(w.machines[name]); err != nil {
					return fmt.Errorf("undo %s %s: %w", tr.name, name, err)
				}
				delete(in, name)
			}
		}
		return nil
	}
	pause := s.Within / time.Duration(count)
	all := faults()
	for range count {
		f := all[w.dice.below(int64(len(all)))]
		if m := w.victim(f.backend, func(name string) bool { _, busy := in[name]; return busy }); m != nil {
			in[m.name] = trouble{f, w.Now() + time.Duration(w.dice.below(w.dice.below(int64(longest))+1))}
			w.logf("%6.1fs   %s %s", w.Now().Seconds(), f.name, m.name)
			if err := f.do(m); err != nil {
				return fmt.Errorf("%s %s: %w", f.name, m.name, err)
			}
		} else if err := w.pinOne(ctx); err != nil {
			return err
		}
		w.Sleep(ctx, pause/2+time.Duration(w.dice.below(int64(pause))))
		if err := undo(w.Now()); err != nil {
			return err
		}
	}
	return undo(1<<63 - 1)
}

// victim is a machine that is well, and whose trouble leaves one of its kind; nil if none.
func (w *world) victim(backend bool, busy func(string) bool) *machine {
	kind := w.directors
	if backend || w.dice.below(2) == 0 {
		kind = w.backends
	}
	var well []string
	for _, name := range kind {
		if !busy(name) {
			well = append(well, name)
		}
	}
	if len(well) < 2 {
		return nil
	}
	return w.machines[well[w.dice.below(int64(len(well)))]]
}

// pinOne pins some user somewhere, or unpins one.
func (w *world) pinOne(ctx context.Context) error {
	user := fmt.Sprintf("user%d", 1+w.dice.below(3))
	to := w.backends[w.dice.below(int64(len(w.backends)))]
	unpin := w.dice.below(2) == 0
	w.logf("%6.1fs   pin %s to %s, or not: %v", w.Now().Seconds(), user, to, unpin)
	return w.administer(ctx, func(m *cluster.Map) (cluster.Txn, error) {
		_, at := m.Pin(user)
		if unpin {
			return cluster.EndPin(user, at), nil
		}
		return cluster.SetPin(user, cluster.Pin{Backend: to}, at)
	})
}
