package cluster_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/cluster"
)

var (
	holderSeed     = flag.Uint64("holder.seed", 0, "of TestHolderFaults; 0: one of the clock")
	holderPrograms = flag.Int("holder.programs", 3, "programs of TestHolderFaults")
)

// Random faults while users write: at no moment do two backends have the right to one
// user, nothing acknowledged is lost, and in the end all are served.
func TestHolderFaults(t *testing.T) {
	length := 40 * time.Second
	if testing.Short() {
		*holderPrograms, length = 1, 15*time.Second
	}
	seed := *holderSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	for i := range uint64(*holderPrograms) {
		t.Run(fmt.Sprintf("seed %d", seed+i), func(t *testing.T) {
			inWorld(t, []string{"b1", "b2", "b3"}, func(w *world) {
				f := faults{world: w, rand: rand.New(rand.NewPCG(seed+i, 0))}
				w.users = w.users[:12]
				f.run(length)
			})
		})
	}
}

// notShort skips a test of one fault: in short tests TestHolderFaults stands for those.
func notShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("TestHolderFaults has its faults")
	}
}

// faults is one program.
type faults struct {
	*world
	rand    *rand.Rand
	writers sync.WaitGroup
	undo    []func() // what ends the faults that go on
}

// names are what can be hit.
var faultNames = []string{"b1", "b2", "b3"}

func (f *faults) run(length time.Duration) {
	next := time.Now()
	for began := time.Now(); time.Since(began) < length; {
		if time.Now().After(next) {
			f.fault()
			next = time.Now().Add(time.Duration(f.rand.IntN(4000)) * time.Millisecond)
		}
		f.write()
		f.one()
		time.Sleep(time.Duration(20+f.rand.IntN(100)) * time.Millisecond)
	}
	f.heal()
	f.writers.Wait()
	for _, name := range faultNames {
		f.wish(name, cluster.Up)
	}
	time.Sleep(time.Minute)
	f.everywhere()
}

func (f *faults) node() *node { return f.nodes[faultNames[f.rand.IntN(len(faultNames))]] }

func (f *faults) user() string { return f.users[f.rand.IntN(len(f.users))] }

// write has somebody write, in a sync of up to some seconds.
func (f *faults) write() {
	n, user := f.node(), f.user()
	before, after := f.syncTime(), f.syncTime()
	if n.isDead() {
		return
	}
	f.writers.Go(func() {
		n.machine.running()
		n.write(user, func() {
			time.Sleep(before)
			n.machine.running()
		}, func() {
			time.Sleep(after)
			n.machine.running()
		})
	})
}

func (f *faults) syncTime() time.Duration {
	if f.rand.IntN(4) > 0 {
		return 0
	}
	return time.Duration(f.rand.IntN(3000)) * time.Millisecond
}

// one fails if two backends have the right to a user at this moment.
func (f *faults) one() {
	synctest.Wait()
	for _, user := range f.users {
		var have []string
		for _, name := range faultNames {
			n := f.nodes[name]
			n.mu.Lock()
			c := n.open[user]
			n.mu.Unlock()
			if c == nil || n.isDead() || n.machine.isStopped() {
				continue
			}
			ctx, stop := context.WithTimeout(context.Background(), time.Nanosecond)
			if c.Check() == nil && c.Confirm(ctx) == nil {
				have = append(have, name)
			}
			stop()
		}
		if len(have) > 1 {
			f.t.Errorf("%s can be written to at %v", user, have)
		}
	}
}

// fault does something, and has it end by itself or in heal.
func (f *faults) fault() {
	n := f.node()
	if n.isDead() {
		f.start(n.name)
		return
	}
	switch f.rand.IntN(12) {
	case 0:
		n.kill()
	case 1:
		n.end()
	case 2, 3:
		if !n.machine.isStopped() {
			n.pause(f.rand.IntN(2) == 0)
			f.later(n.goOn)
		}
	case 4:
		n.client.Cut(true)
		f.later(func() { n.client.Cut(n.isDead()) })
	case 5:
		n.client.Hang(true)
		f.later(func() { n.client.Hang(n.machine.isStopped()) })
	case 6:
		n.hang()
		f.later(n.release)
	case 7, 8:
		f.pin(f.user(), faultNames[f.rand.IntN(len(faultNames))])
	case 9:
		f.pin(f.user(), "")
	case 10:
		f.wish(n.name, []cluster.State{cluster.Up, cluster.Up, cluster.Drain, cluster.Down}[f.rand.IntN(4)])
	case 11:
		for _, n := range f.nodes {
			n.client.Cut(true)
		}
		f.later(func() {
			for _, n := range f.nodes {
				n.client.Cut(n.isDead())
			}
		})
	}
}

// later undoes a fault after a while.
func (f *faults) later(undo func()) {
	after := time.Duration(100+f.rand.IntN(9000)) * time.Millisecond
	var once sync.Once
	f.undo = append(f.undo, func() { once.Do(undo) })
	last := f.undo[len(f.undo)-1]
	time.AfterFunc(after, last)
}

func (f *faults) heal() {
	for _, undo := range f.undo {
		undo()
	}
	for _, name := range faultNames {
		if f.nodes[name].isDead() {
			f.start(name)
		}
	}
}

// What a session holds on to while its backend gives a user up: until the sessions have
// ended the claim is good, then it is not, and then only others can have the user.
func TestHolderReleaseOrder(t *testing.T) {
	notShort(t)
	inWorld(t, []string{"b1", "b2"}, func(w *world) {
		n, other := w.nodes["b1"], w.nodes["b2"]
		user := w.users[slices.IndexFunc(w.users, func(u string) bool { return w.at(u) == "b1" })]
		c, err := n.account(user)
		if err != nil {
			t.Fatal(err)
		}
		n.hang()
		w.wish("b1", cluster.Down)
		time.Sleep(cluster.ReleaseLimit / 2)
		if err := c.Confirm(context.Background()); err != nil {
			t.Errorf("while sessions end: %v", err)
		}
		if _, err := n.holder.Claim(context.Background(), user); moved(t, err).Holder != "" {
			t.Errorf("a new claim: %v", err)
		}
		if other.write(user, atOnce, atOnce) {
			t.Error("b2 has the user already")
		}
		n.release()
		time.Sleep(time.Second)
		if c.Check() == nil || c.Confirm(context.Background()) == nil {
			t.Error("the claim is good still")
		}
		if !other.write(user, atOnce, atOnce) {
			t.Error("b2 has not taken the user")
		}
	})
}

// All commits that wait share a read, but none that was sent before they came.
func TestHolderConfirmShared(t *testing.T) {
	inWorld(t, []string{"b1"}, func(w *world) {
		n := w.nodes["b1"]
		c, err := n.account("ann")
		if err != nil {
			t.Fatal(err)
		}
		before := n.client.Calls()
		n.client.Hang(true)
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				if err := c.Confirm(context.Background()); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		n.client.Hang(false)
		all.Wait()
		if calls := n.client.Calls() - before; calls != 2 {
			t.Errorf("%d reads for 64 commits, of which the first came before", calls)
		}
	})
}
