package main

import (
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var hiddenTries = flag.Int("hidden.tries", 0, "how often TestHiddenTakesAsLong tries each command with each name; 0: not at all")

// hiddenTimed are the commands of TestHiddenTakesAsLong, one for each way through the code. Those
// after "first" are each tried in a session that has asked nothing yet.
var hiddenTimed = []string{
	"SELECT @", "STATUS @ (MESSAGES UNSEEN)", `APPEND @ <<"x\r\n"`, "COPY 1 @", "DELETE @", "CREATE @/below", "RENAME @ @/below", "SUBSCRIBE @",
	"MYRIGHTS @", "GETACL @", "SETACL @ someone2 lr", "GETMETADATA @ /shared/comment", "GETQUOTAROOT @", `LIST "" @* RETURN (STATUS (MESSAGES))`,
	"NOTIFY SET STATUS (MAILBOXES @ (MessageNew MessageExpunge MailboxName))", "first STATUS @ (MESSAGES)",
}

// TestHiddenTakesAsLong: what a mailbox that may not be seen answers takes as long as the
// same of a missing one, and what an owner who shares nothing as long as what nobody does. The medians
// of interleaved tries differ by less than each one's p95 from its median.
func TestHiddenTakesAsLong(t *testing.T) {
	if *hiddenTries == 0 {
		t.Skip("measures for minutes: -hidden.tries 2000")
	}
	for _, home := range []struct {
		name  string
		start func(*testing.T) *rig
	}{
		{"elsewhere", func(t *testing.T) *rig { return startRigWith(t, "rig", veiled) }},
		{"here", func(t *testing.T) *rig { return startTogetherWith(t, nil, func(string) bool { return true }, veiled) }},
	} {
		t.Run(home.name, func(t *testing.T) {
			r := home.start(t)
			r.say(t, "someone1", "CREATE Hidden", "CREATE Open", "SETACL Open someone2 lrswi", `APPEND Open <<"Subject: x\r\n\r\nx\r\n"`)
			r.say(t, "someone3", "CREATE Hidden")
			for _, command := range hiddenTimed {
				r.compareTimes(t, command, "shared/someone1/Missing", "shared/someone1/Hidden")
				r.compareTimes(t, command, "shared/nobody/Hidden", "shared/someone3/Hidden", "shared/someone5/Hidden")
			}
		})
	}
}

func veiled(r *rig) { r.veil = evenTime }

// timedSessions is how many sessions try at once: most of the time they wait.
const timedSessions = 8

// compareTimes compares what a command takes with each name with what it takes with the first.
func (r *rig) compareTimes(t *testing.T, command string, names ...string) {
	t.Helper()
	var (
		all  sync.WaitGroup
		mu   sync.Mutex // guards took
		took = map[string][]time.Duration{}
	)
	for range timedSessions {
		all.Go(func() {
			got := r.timeCommand(t, command, names, *hiddenTries/timedSessions)
			mu.Lock()
			defer mu.Unlock()
			for name, times := range got {
				took[name] = append(took[name], times...)
			}
		})
	}
	all.Wait()
	first := spreadOf(took[names[0]])
	for _, name := range names[1:] {
		s := spreadOf(took[name])
		differ := (s.p50 - first.p50).Abs()
		verdict := "alike"
		if differ >= min(s.p95-s.p50, first.p95-first.p50) {
			verdict = "they can be told apart"
			t.Fail()
		}
		t.Logf("%-70s %-24s p50 %8v p95 %8v, %-24s p50 %8v p95 %8v: %s", command, names[0], first.p50, first.p95, name, s.p50, s.p95, verdict)
	}
}

// timeCommand is what the command takes with each of names, in random order.
func (r *rig) timeCommand(t *testing.T, command string, names []string, tries int) map[string][]time.Duration {
	command, first := strings.CutPrefix(command, "first ")
	took := map[string][]time.Duration{}
	c := r.login(t, "someone2")
	defer func() { c.close() }()
	for range tries {
		for _, i := range rand.Perm(len(names)) {
			if first {
				c.close()
				c = r.login(t, "someone2")
			}
			took[names[i]] = append(took[names[i]], timeOnce(c, command, names[i]))
		}
	}
	return took
}

func timeOnce(c *imapConn, command, name string) time.Duration {
	if strings.HasPrefix(command, "COPY") {
		c.command("SELECT shared/someone1/Open")
	}
	begun := time.Now()
	c.command(strings.ReplaceAll(command, "@", name))
	took := time.Since(begun)
	if strings.HasPrefix(command, "NOTIFY") {
		c.command("NOTIFY NONE")
	}
	return took
}

type spread struct{ p50, p95 time.Duration }

func spreadOf(times []time.Duration) spread {
	slices.Sort(times)
	at := func(percent int) time.Duration { return times[len(times)*percent/100].Round(time.Microsecond) }
	return spread{at(50), at(95)}
}
