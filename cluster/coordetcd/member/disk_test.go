package member

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// What was slow before counts no more, and one slow sync of a hundred is none.
func TestSyncs(t *testing.T) {
	registry := prometheus.NewRegistry()
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: fsyncs, Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)})
	registry.MustRegister(h)
	var said bytes.Buffer
	log, s := slog.New(slog.NewTextHandler(&said, nil)), &syncs{}
	before := buckets(registry)
	for _, step := range []struct {
		fast, slow int
		p99        time.Duration
		says       string
	}{
		{fast: 99, slow: 1, p99: time.Millisecond},
		{fast: 98, slow: 2, p99: 128 * time.Millisecond, says: "its disk is slow"},
		{slow: 1, p99: 128 * time.Millisecond, says: "its disk is slow"},
		{fast: 1, p99: time.Millisecond, says: "fast again"},
		{},
	} {
		for range step.fast {
			h.Observe(0.0005)
		}
		for range step.slow {
			h.Observe(0.1)
		}
		now := buckets(registry)
		said.Reset()
		s.note(syncsBetween(before, now), log)
		before = now
		if s.last.P99 != step.p99 || s.last.Count != uint64(step.fast+step.slow) {
			t.Errorf("%+v: %+v", step, s.last)
		}
		if (said.Len() > 0) != (step.says != "") || !strings.Contains(said.String(), step.says) {
			t.Errorf("%+v: said %q", step, said.String())
		}
	}
	h.Observe(1000)
	if s := syncsBetween(before, buckets(registry)); !s.Slow {
		t.Errorf("longer than all buckets: %+v", s)
	}
	if s := syncsBetween(nil, buckets(prometheus.NewRegistry())); s != (Syncs{}) {
		t.Errorf("without a histogram: %+v", s)
	}
}

// The data are warned of on the disk of mail, also before their directory is there.
func TestSharesDisk(t *testing.T) {
	dir := t.TempDir()
	volume := filepath.Join(dir, "mail")
	if v := sharesDisk(filepath.Join(dir, "not", "yet"), []string{volume, dir}); v != dir {
		t.Errorf("shares %q", v)
	}
	if v := sharesDisk(dir, []string{"/proc", volume}); v != "" {
		t.Errorf("shares %q", v)
	}
}
