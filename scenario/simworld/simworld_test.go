package simworld

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/scenario"
	"github.com/roost-mail/roost/store"
)

var (
	scenarioSeed = flag.Uint64("scenario.seed", 0, "seed of the scenarios; 0: one of the clock")
	scenarioRuns = flag.Int("scenario.runs", 1, "how often each scenario is run, each time with another seed")
	scenarioMany = flag.Int("scenario.faults", 60, "how many random faults happen in TestFaults")
	scenarioLog  = flag.String("scenario.log", "", "file to which all nodes' logs of the last run go")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestScenarios has the scenarios of this directory, and those written for processes, happen
// in a simulated world.
func TestScenarios(t *testing.T) {
	var files []string
	patterns := []string{"testdata/*.txt", "../../cmd/roost/testdata/scenarios/*.txt"}
	if testing.Short() {
		patterns = []string{"testdata/moves.txt"} // TestFaults has what is random
	}
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("no scenarios at %s: %v", pattern, err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), "\nwipe ") {
				t.Skip("only processes can lose what the coordinator knew")
			}
			runAll(t, file, string(text))
		})
	}
}

// TestFaults has many faults happen to a large cluster, in any order.
func TestFaults(t *testing.T) {
	if testing.Short() {
		*scenarioMany = min(*scenarioMany, 20)
	}
	runAll(t, "faults", scenario.ManyFaults(*scenarioMany, 6))
}

// TestPauseIsFound has a machine be paused, with its clocks, in a cluster whose backends
// believe their clocks. Then there are two writers, and the world says so.
func TestPauseIsFound(t *testing.T) {
	if testing.Short() {
		t.Skip("it tries many seeds")
	}
	s, err := scenario.Parse("paused", `
backends b1 b2
directors d1
users 30
start all
settled within 15s
load on
for 1s
freeze b1
for 10s
thaw b1
for 3s
`)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(60) { // each finds it with about two in five
		_, err := simulate(t, s, config{seed: seed + 1, marker: newMarker(t), commitCheck: cluster.CheckClock})
		if err != nil && strings.Contains(err.Error(), "although b") {
			return
		}
	}
	t.Error("nothing was found")
}

// runAll runs a scenario as often as is asked for.
func runAll(t *testing.T, name, text string) {
	s, err := scenario.Parse(name, text)
	if err != nil {
		t.Fatal(err)
	}
	if testing.Short() {
		s.Users = min(s.Users, 3)
	}
	seed := *scenarioSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	marker := newMarker(t)
	for run := range *scenarioRuns {
		if !runOne(t, s, seed+uint64(run), marker) {
			return
		}
	}
}

// newMarker is the marker of some volume.
func newMarker(t *testing.T) []byte {
	dir := t.TempDir()
	if _, err := store.InitVolume(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, ".roost-volume"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func runOne(t *testing.T, s *scenario.Scenario, seed uint64, marker []byte) bool {
	t.Logf("seed %d", seed)
	w, err := simulate(t, s, config{seed: seed, marker: marker})
	if err != nil {
		t.Errorf("seed %d: %v", seed, err)
		return false
	}
	w.check(t, s.UserNames())
	return !t.Failed()
}

// simulate has a scenario happen in a world, which has ended then. The error is what went wrong.
func simulate(t *testing.T, s *scenario.Scenario, c config) (w *world, err error) {
	synctest.Test(t, func(t *testing.T) {
		var end func() error
		w, end = startWorld(t, s, c)
		r := scenario.Runner{World: w, Seed: c.seed, Logf: t.Logf}
		err = r.Run(t.Context(), s)
		err = errors.Join(err, end())
		t.Logf("%d claims, %d confirmed", w.monitor.claims, w.monitor.confirms)
	})
	return w, err
}

// startWorld makes a world in a bubble, and what ends it and says what went wrong with it.
func startWorld(t *testing.T, s *scenario.Scenario, c config) (*world, func() error) {
	c.log, c.logf = slog.New(slog.DiscardHandler), t.Logf
	if *scenarioLog != "" {
		f, err := os.Create(*scenarioLog)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		c.log = slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	w, err := newWorld(s, c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.tasks.Go(func() { w.view.Run(ctx) })
	return w, func() error {
		cancel()
		w.close()
		return w.monitor.err()
	}
}
