package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fault is something that happens, and how it is undone: steps that lack a name.
type fault struct {
	to       kindOfName
	do, undo string // undo "": it stays
}

// kindOfName is whose name a fault lacks.
type kindOfName int

const (
	aNode kindOfName = iota
	aBackend
	aUser
	aCoordinator
)

// theCoordinator is its name in steps.
const theCoordinator = "coordinator"

// faults are those that can happen at random. What is here more than once happens more often.
func faults() []fault {
	return []fault{
		{aNode, "kill %s", "start %s"},
		{aNode, "term %s", "start %s"},
		{aNode, "stop %s", "continue %s"},
		{aNode, "freeze %s", "thaw %s"},
		{aNode, "cut %s from coordinator", "heal %s"},
		{aBackend, "kill %s", "start %s"},
		{aBackend, "stop %s", "continue %s"},
		{aBackend, "freeze %s", "thaw %s"},
		{aBackend, "hang %s", "unhang %s"},
		{aBackend, "unmount %s", "mount %s"},
		{aBackend, "drain %s", "up %s"},
		{aBackend, "down %s", "up %s"},
		{aUser, "move %s to %s", ""},
		{aUser, "unmove %s", ""},
		{aCoordinator, "kill %s", "start %s"},
		{aCoordinator, "copy %s", ""},
		{aCoordinator, "restore %s", "new-generation"},
	}
}

// ManyFaults is the text of a scenario in which so many faults happen to a large cluster.
// Now and then there are none for a while: then everybody has to be served again,
// and all mail is looked at.
func ManyFaults(n, users int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "backends b1 b2 b3 b4\ndirectors d1 d2 d3\nusers %d\nstart all\nsettled within 45s\nload on\nserved within 5s\n", users)
	for ; n > 0; n -= atOnce {
		fmt.Fprintf(&b, "random %d within %ds\nserved within 10s\ncheck\n", min(n, atOnce), min(n, atOnce)*3/2)
	}
	return b.String()
}

// atOnce is how many faults happen until there are none for a while.
const atOnce = 25

// longestFault is how long one lasts at most: most are shorter than a lease, or somewhat longer.
const longestFault = 15 * time.Second

// trouble is a fault that has happened, and is undone when its time has come.
type trouble struct {
	undo  string
	until time.Duration
}

// chaos has faults happen. It belongs to the goroutine of the step.
type chaos struct {
	*Runner
	rand   *rand.Rand
	all    []fault
	in     map[string]trouble // by node, or theCoordinator
	copied bool               // there is something to restore
}

// random has faults happen, sometimes several at a time, and undoes them. Never are
// all backends, or all directors, in trouble at once.
func (r *Runner) random(ctx context.Context, s Step) error {
	count, err := strconv.Atoi(s.Args[0])
	if err != nil || count < 1 {
		return errors.New("random N within D")
	}
	c := &chaos{Runner: r, rand: rand.New(rand.NewPCG(r.Seed, uint64(s.Line))), in: map[string]trouble{}}
	for _, f := range faults() {
		if r.can(f.do) && (f.undo == "" || r.can(f.undo)) {
			c.all = append(c.all, f)
		}
	}
	end := r.World.Now() + s.Within
	for ; count > 0; count-- {
		if err := c.happen(ctx); err != nil {
			return err
		}
		pause := max(end-r.World.Now(), 0) / time.Duration(count)
		r.World.Sleep(ctx, pause/2+c.below(pause))
		if err := c.undo(ctx, r.World.Now()); err != nil {
			return err
		}
	}
	return c.undo(ctx, 1<<63-1)
}

func (r *Runner) can(text string) bool {
	word, _, _ := strings.Cut(text, " ")
	return verbs()[word].runner || r.World.Can(word)
}

func (c *chaos) below(d time.Duration) time.Duration {
	return time.Duration(c.rand.Int64N(int64(d) + 1))
}

// happen has one fault happen, to somebody who is well.
func (c *chaos) happen(ctx context.Context) error {
	for range 100 {
		f := c.all[c.rand.IntN(len(c.all))]
		name, ok := c.whose(f)
		if !ok || c.needs(f.do) {
			continue
		}
		if f.undo != "" {
			undo := f.undo
			if strings.Contains(undo, "%s") {
				undo = fmt.Sprintf(undo, name)
			}
			c.in[name] = trouble{undo, c.World.Now() + c.below(c.below(longestFault))}
		}
		args := []any{name}
		if strings.Count(f.do, "%s") > 1 {
			args = append(args, c.scenario.Backends[c.rand.IntN(len(c.scenario.Backends))])
		}
		return c.do(ctx, fmt.Sprintf(f.do, args...))
	}
	return nil // all are in trouble
}

// whose is to whom a fault happens.
func (c *chaos) whose(f fault) (name string, ok bool) {
	switch f.to {
	case aCoordinator:
		_, busy := c.in[theCoordinator]
		if c.rand.IntN(3) > 0 {
			return "", false // less often than others
		}
		switch strings.Fields(f.do)[0] {
		case "copy":
			c.copied = c.copied || !busy
		case "restore":
			busy = busy || !c.copied
		}
		return theCoordinator, !busy
	case aUser:
		users := c.scenario.UserNames()
		return users[c.rand.IntN(min(3, len(users)))], true
	}
	kind := c.scenario.Directors
	if f.to == aBackend || c.rand.IntN(2) == 0 {
		kind = c.scenario.Backends
	}
	well := slices.DeleteFunc(slices.Clone(kind), func(name string) bool { _, busy := c.in[name]; return busy })
	if len(well) < 2 {
		return "", false
	}
	return well[c.rand.IntN(len(well))], true
}

// needs says whether a step needs the coordinator, and that is in trouble.
func (c *chaos) needs(text string) bool {
	_, away := c.in[theCoordinator]
	word, _, _ := strings.Cut(text, " ")
	return away && slices.Contains([]string{"drain", "up", "down", "move", "unmove"}, word)
}

// undo undoes what is due; what the coordinator is needed for only when it is well.
func (c *chaos) undo(ctx context.Context, now time.Duration) error {
	for _, name := range append([]string{theCoordinator}, c.scenario.Nodes()...) {
		t, is := c.in[name]
		if !is || t.until > now || c.needs(t.undo) {
			continue
		}
		delete(c.in, name)
		if err := c.do(ctx, t.undo); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// do has a step happen that is not in the text.
func (c *chaos) do(ctx context.Context, text string) error {
	s, err := parseStep(strings.Fields(text))
	if err == nil {
		c.logf("%6.1fs   %s", c.now().Seconds(), text)
		err = c.step(ctx, s)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	return nil
}
