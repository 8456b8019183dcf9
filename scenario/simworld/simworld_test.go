package simworld

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/roost-mail/roost/scenario"
	"github.com/roost-mail/roost/store"
)

var (
	scenarioSeed = flag.Uint64("scenario.seed", 0, "seed of the scenarios; 0: one of the clock")
	scenarioRuns = flag.Int("scenario.runs", 1, "how often each scenario is run, each time with another seed")
	scenarioLog  = flag.String("scenario.log", "", "file to which all nodes' logs of the last run go")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestScenarios has the scenarios of this directory, and those written for processes, happen
// in a simulated world.
func TestScenarios(t *testing.T) {
	var files []string
	patterns := []string{"testdata/*.txt", "../../cmd/roost/testdata/scenarios/*.txt"}
	if testing.Short() {
		patterns = patterns[:1]
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
			runAll(t, file, string(text))
		})
	}
}

// runAll runs a scenario as often as is asked for.
func runAll(t *testing.T, name, text string) {
	s, err := scenario.Parse(name, text)
	if err != nil {
		t.Fatal(err)
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
	log := slog.New(slog.DiscardHandler)
	if *scenarioLog != "" {
		f, err := os.Create(*scenarioLog)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		log = slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	var w *world
	synctest.Test(t, func(t *testing.T) {
		var err error
		if w, err = newWorld(s, seed, marker, log, t.Logf); err != nil {
			t.Fatal(err)
		}
		for _, verb := range s.Verbs() {
			if w.verbs()[verb] == nil {
				t.Fatalf("the simulated world can't %s", verb)
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		w.tasks.Go(func() { w.view.Run(ctx) })
		r := scenario.Runner{World: w, Seed: seed, Logf: t.Logf}
		err = r.Run(t.Context(), s)
		cancel()
		w.close()
		if err = errors.Join(err, w.monitor.err()); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		t.Logf("%d claims, %d confirmed", w.monitor.claims, w.monitor.confirms)
	})
	if !t.Failed() {
		w.check(t, slices.Sorted(slices.Values(s.UserNames())))
	}
	return !t.Failed()
}
