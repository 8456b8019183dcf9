package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/roost-mail/roost/health"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/store"
)

var updateMetrics = flag.Bool("update-metrics", false, "write docs/metrics.md")

// TestMetricsDocs holds docs/metrics.md to the table.
func TestMetricsDocs(t *testing.T) {
	const file = "../../docs/metrics.md"
	want := metricsDocs()
	if *updateMetrics {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != want {
		t.Errorf("%s is not that of the table (%v): go test ./cmd/roost -run TestMetricsDocs -update-metrics", file, err)
	}
}

// TestMetricsOfOtherDocs: what is written of metrics elsewhere names those that there are.
func TestMetricsOfOtherDocs(t *testing.T) {
	rows := metricRows()
	for _, file := range []string{"operations.md", "cluster.md", "sharing.md"} {
		text, err := os.ReadFile("../../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\broost_[a-z0-9_]*[a-z0-9]\b`).FindAllString(string(text), -1) {
			if !slices.ContainsFunc(rows, func(r metricRow) bool { return name == r.name || name == r.name+"_count" }) {
				t.Errorf("docs/%s: there is no metric %s", file, name)
			}
		}
	}
}

func metricsDocs() string {
	var b strings.Builder
	b.WriteString(`# Metrics

Generated from the table in cmd/roost/metrics.go; change it there, and run
` + "`go test ./cmd/roost -run TestMetricsDocs -update-metrics`" + `.

` + "`metrics_listen = ADDRESS:PORT`" + ` serves ` + "`/metrics`" + ` in Prometheus' text form. Labels never hold names of users.
A histogram has ` + "`_count`, `_sum` and `_bucket`" + `: logins by result are
` + "`sum by (result) (rate(roost_login_duration_seconds_count[5m]))`" + `. Counters begin at 0 with the process.

| metric | type | labels | |
|---|---|---|---|
`)
	for _, r := range metricRows() {
		kind := map[prometheus.ValueType]string{gauge: "gauge", counter: "counter", 0: "histogram"}[r.kind]
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.name, kind, strings.Join(r.labels, ", "), r.help)
	}
	b.WriteString("\nThese families come with the library; what they hold is in its documentation.\n\n| names | |\n|---|---|\n")
	for _, f := range metricFamilies {
		fmt.Fprintf(&b, "| `%s*` | %s |\n", f.prefix, f.help)
	}
	return b.String()
}

// metricFamilies are those of Go's runtime and of the process, which are not ours.
var metricFamilies = []struct{ prefix, help string }{
	{"go_", "Go's runtime: goroutines, memory, garbage collection."},
	{"process_", "The process: processor time, memory, open files, and its start."},
	{"promhttp_", "Requests of /metrics."},
}

// TestMetrics: what a scrape of a busy node shows is what the table says, every row of it
// that concerns a node alone has a value, and no user's name is in it.
func TestMetrics(t *testing.T) {
	s := startWatched(t, "health_check_user = probe\nhealth_check_password = secret\nhealth_check_interval = 1 s\n"+
		"plugin {\n acl_shared_dict = fs:posix:prefix="+t.TempDir()+"/\n}\n")
	c, err := imapclient.Dial(t.Context(), "tcp", s.plain, imapclient.Config{Timeout: patience})
	if err == nil {
		_, err = c.Login(t.Context(), "someone-secret", "secret")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	awaitHealth(t, s.node, "a check", func(states []health.State) bool { return states[0].Checks > 0 })
	_, text := s.get(t, "/metrics", "")

	rows := map[string]bool{}
	for _, r := range clusterMetrics() {
		rows[r.name] = true
	}
	for _, r := range slices.Concat(serverMetrics(), directorMetrics(), storeMetrics()) {
		rows[r.name] = true
		if !regexp.MustCompile(`(?m)^# TYPE ` + r.name + ` `).MatchString(text) {
			t.Errorf("%s has no value", r.name)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+) `).FindAllStringSubmatch(text, -1) {
		family := slices.ContainsFunc(metricFamilies, func(f struct{ prefix, help string }) bool { return strings.HasPrefix(m[1], f.prefix) })
		if !rows[m[1]] && !family {
			t.Errorf("%s is not in the table", m[1])
		}
	}
	for _, want := range []string{
		`roost_login_duration_seconds_count{result="ok"} 1`, `roost_sessions{state="authenticated"} 1`,
		`roost_command_duration_seconds_count{command="LOGIN",result="ok"} `, `roost_backend_up{backend="be1"} 1`, "roost_ready 1", "roost_share_index_readable 1",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, "someone") || strings.Contains(text, "secret") {
		t.Error("a name or a secret is in the metrics")
	}
}

// watched is a single with metrics.
type watched struct {
	*single
	volume string
}

func startWatched(t *testing.T, settings string) *watched {
	t.Helper()
	s := &watched{volume: t.TempDir()}
	if _, err := store.InitVolume(s.volume); err != nil {
		t.Fatal(err)
	}
	s.single = startSingle(t, settings+"instance_name = be1\nmetrics_listen = 127.0.0.1:0\n"+
		"mail_volume = "+s.volume+"\nmail_location = roost:"+s.volume+"/%u\n")
	s.await(t, http.StatusOK) // what the pulse looks at has been seen
	return s
}

func (s *watched) get(t *testing.T, path, accept string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequest("GET", "http://"+s.node.metricsAt.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// await waits until /readyz answers with a status.
func (s *watched) await(t *testing.T, status int) (text string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		got, text := s.get(t, "/readyz", "")
		if got == status {
			return text
		}
		if time.Now().After(end) {
			t.Fatalf("/readyz: %d\n%s", got, text)
		}
	}
}

// TestReadyz: a volume that is not mounted is told, as text and as JSON, and the process
// lives on.
func TestReadyz(t *testing.T) {
	s := startWatched(t, "")
	if err := os.Rename(s.volume+"/.roost-volume", s.volume+"/elsewhere"); err != nil {
		t.Fatal(err)
	}
	text := s.await(t, http.StatusServiceUnavailable)
	if want := "NOT READY: volume " + s.volume + ": "; !strings.Contains(text, want) || !strings.Contains(text, "ok: process\n") {
		t.Errorf("no %q in\n%s", want, text)
	}
	status, body := s.get(t, "/readyz", "application/json")
	var answer struct {
		Ready      bool
		Conditions []condition
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusServiceUnavailable || answer.Ready || len(answer.Conditions) != 3 {
		t.Errorf("%d, %v: %s", status, err, body)
	}
	if status, body := s.get(t, "/healthz", ""); status != http.StatusOK || body != "ok\n" {
		t.Errorf("/healthz: %d %s", status, body)
	}
	if err := os.Rename(s.volume+"/elsewhere", s.volume+"/.roost-volume"); err != nil {
		t.Fatal(err)
	}
	s.await(t, http.StatusOK)
}
