package main

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkFirstAccess is what the first client pays after both backends were
// started again: each command once, on 10,000 messages, own and shared in turns.
// Run it with -benchtime 7x; it tells medians, and shared/own.
func BenchmarkFirstAccess(b *testing.B) {
	commands := []struct{ name, command string }{
		{"SELECT", "SELECT BOX"}, // with the LOGIN, which opens the account of one's own
		{"FLAGS", "FETCH 1:* (FLAGS)"},
		{"ENVELOPE", "FETCH 1:* (ENVELOPE)"},
		{"BODYSTRUCTURE", "FETCH 1:* (BODYSTRUCTURE)"},
		{"SEARCH_TEXT", `SEARCH TEXT "number 9999"`},
		{"SORT", "SORT (SUBJECT REVERSE DATE) UTF-8 ALL"},
		{"THREAD", "THREAD REFERENCES UTF-8 ALL"},
	}
	r := startRig(b, "rig")
	owner := newBenchClient(b, r, "someone1")
	owner.fill(b, "Big", benchMessages)
	owner.conn.Close()
	took, used := map[string][]time.Duration{}, map[string][]time.Duration{}
	measure := func(user, box, who string) {
		for _, name := range []string{"be1", "be2"} {
			r.stop(b, name)
			r.start(b, name, nil)
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
	measure("someone1", "Big", "/warm-up") // folds what was appended
	for b.Loop() {
		measure("someone1", "Big", "/own")
		measure("someone2", "shared/someone1/Big", "/shared")
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
