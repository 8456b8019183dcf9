package main

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkFirstAccess is what the first client pays after both backends were
// started again: each command once, on 10,000 messages, own and shared in turns, without
// and with a coordinator. Run it with -benchtime 7x; it tells medians, and shared/own.
func BenchmarkFirstAccess(b *testing.B) {
	b.Run("alone", func(b *testing.B) {
		firstAccess(b, startRig(b, "rig"), "someone1", "someone2", func() {})
	})
	b.Run("coordinator", func(b *testing.B) {
		r := startTrustRig(b, func(_, text string) string { return text })
		firstAccess(b, r.rig, r.usersAt("be1")[0], r.usersAt("be2")[0], func() { r.awaitPlaces(b) })
	})
}

// firstAccess measures it for an owner and a reader at two backends; settled returns when both
// serve their users.
func firstAccess(b *testing.B, r *rig, ownerName, reader string, settled func()) {
	commands := []struct{ name, command string }{
		{"SELECT", "SELECT BOX"}, // with the LOGIN, which opens the account of one's own
		{"FLAGS", "FETCH 1:* (FLAGS)"},
		{"ENVELOPE", "FETCH 1:* (ENVELOPE)"},
		{"BODYSTRUCTURE", "FETCH 1:* (BODYSTRUCTURE)"},
		{"SEARCH_TEXT", `SEARCH TEXT "number 9999"`},
		{"SORT", "SORT (SUBJECT REVERSE DATE) UTF-8 ALL"},
		{"THREAD", "THREAD REFERENCES UTF-8 ALL"},
	}
	owner := newBenchClient(b, r, ownerName)
	owner.fill(b, "Big", benchMessages)
	owner.do(b, "SETACL Big "+reader+" lrs")
	owner.conn.Close()
	took, used := map[string][]time.Duration{}, map[string][]time.Duration{}
	measure := func(user, box, who string) {
		for _, name := range []string{"be1", "be2"} {
			r.stop(b, name)
			r.start(b, name, nil)
			settled()
		}
		start, before := time.Now(), cpuTime()
		c := newBenchClient(b, r, user)
		defer c.conn.Close()
		for i, cmd := range commands {
			if i > 0 {
				start, before = time.Now(), cpuTime()
			}
			c.do(b, strings.ReplaceAll(cmd.command, "BOX", box))
			took[cmd.name+who] = append(took[cmd.name+who], time.Since(start))
			used[cmd.name+who] = append(used[cmd.name+who], cpuTime()-before)
		}
	}
	measure(ownerName, "Big", "/warm-up") // folds what was appended
	for b.Loop() {
		measure(ownerName, "Big", "/own")
		measure(reader, "shared/"+ownerName+"/Big", "/shared")
	}
	for _, cmd := range commands {
		own, shared := medianOf(took[cmd.name+"/own"]), medianOf(took[cmd.name+"/shared"])
		b.ReportMetric(float64(own.Microseconds())/1000, cmd.name+"-own-ms")
		b.ReportMetric(float64(shared)/float64(own), cmd.name+"-ratio")
		own, shared = medianOf(used[cmd.name+"/own"]), medianOf(used[cmd.name+"/shared"])
		b.ReportMetric(float64(shared)/float64(own), cmd.name+"-cpu-ratio")
	}
	b.ReportMetric(0, "ns/op")
}

func medianOf(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// cpuTime is the processor time of this process, which is the whole cluster: on
// a busy machine it says more than the clock.
func cpuTime() time.Duration {
	var use syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &use)
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
