package main

import (
	"runtime"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/metric"
)

// metricRow is one metric of a node: docs/metrics.md is made of these rows. Labels have
// few values, all of them ours or the administrator's: never a user's name.
type metricRow struct {
	name   string
	kind   prometheus.ValueType // 0 for durations
	help   string
	labels []string

	// read gives the values, times the durations; one of them is set.
	read  func(n *scrape, give func(value float64, labels ...string))
	times func(n *scrape, give func(s metric.Snapshot, labels ...string))
}

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// metricRows is the table of all metrics that are ours.
func metricRows() []metricRow {
	return slices.Concat(serverMetrics(), directorMetrics(), storeMetrics(), clusterMetrics())
}

type (
	giveValue = func(value float64, labels ...string)
	giveTimes = func(s metric.Snapshot, labels ...string)
)

func serverMetrics() []metricRow {
	return []metricRow{
		{"roost_build_info", gauge, "1; the labels say what runs.", []string{"version", "commit", "goversion"}, func(_ *scrape, give giveValue) {
			give(1, version(), commit(), runtime.Version())
		}, nil},
		{"roost_ready", gauge, "1 while /readyz says so, else 0.", nil, func(n *scrape, give giveValue) {
			give(truth(fulfilledAll(n.conditions())))
		}, nil},
		{"roost_sessions", gauge, "Connections by what they are at: login, authenticated, selected, idle, proxied.", []string{"state"}, func(n *scrape, give giveValue) {
			for state, count := range n.imap.Counts().Sessions {
				give(float64(count), state)
			}
		}, nil},
		{"roost_sessions_parked", gauge, "Connections that have been quiet for a while, and hold next to no memory.", nil, func(n *scrape, give giveValue) {
			give(float64(n.imap.Counts().Parked))
		}, nil},
		{"roost_received_bytes_total", counter, "Bytes from clients whose sessions are here; those that are handed on are in roost_proxied_bytes_total.", nil, func(n *scrape, give giveValue) {
			give(float64(n.imap.Counts().BytesIn))
		}, nil},
		{"roost_sent_bytes_total", counter, "Bytes to these clients.", nil, func(n *scrape, give giveValue) {
			give(float64(n.imap.Counts().BytesOut))
		}, nil},
		{"roost_login_duration_seconds", 0, "How long logins took, by result: ok, refused (the password, or not allowed), unavailable (the backend, or a database), limited (too many connections), moved (the user lives elsewhere now). Health checks are not counted.", []string{"result"}, nil, func(n *scrape, give giveTimes) {
			for result, s := range n.imap.Counts().Logins {
				give(s, result)
			}
		}},
		{"roost_command_duration_seconds", 0, "How long commands took, by name and answer: ok, no, bad. Waits for the client are left out, so IDLE takes no time.", []string{"command", "result"}, nil, func(n *scrape, give giveTimes) {
			for c, s := range n.imap.Counts().Commands {
				give(s, c.Command, c.Result)
			}
		}},
		{"roost_acl_refused_total", counter, "What was refused for lack of a right.", nil, func(n *scrape, give giveValue) {
			give(float64(n.aclRefused.Load()))
		}, nil},
		{"roost_acl_audit_lost_total", counter, "Records that are missing in the file of acl_audit_log, because it could not be written.", nil, func(n *scrape, give giveValue) {
			give(float64(n.audit.Lost()))
		}, nil},
		{"roost_share_index_drift", gauge, "Keys of the sharing index that the last sweep found wrong, and mended.", nil, func(n *scrape, give giveValue) {
			if n.publisher != nil {
				give(float64(n.publisher.Drifted()))
			}
		}, nil},
		{"roost_share_index_readable", gauge, "1 while the dictionary of acl_shared_dict can be read; 0 while LIST shows what was read before.", nil, func(n *scrape, give giveValue) {
			if n.sharing != nil && n.sharing.mirror != nil {
				give(truth(n.sharing.mirror.Failing() == nil))
			}
		}, nil},
		{"roost_hop_connections_total", counter, "Connections made to other backends for shared mail.", nil, func(n *scrape, give giveValue) {
			give(float64(n.hops.Connections.Load()))
		}, nil},
		{"roost_hop_duration_seconds", 0, "How long answers took on these.", nil, nil, func(n *scrape, give giveTimes) {
			give(n.hops.Waits.Read())
		}},
	}
}

func directorMetrics() []metricRow {
	return []metricRow{
		{"roost_proxied_pairs", gauge, "Pairs of connections that are joined: client and backend.", nil, func(n *scrape, give giveValue) {
			give(float64(n.director.Counts().Pairs))
		}, nil},
		{"roost_proxied_bytes_total", counter, "Bytes that were copied, by direction: to_backend, to_client.", []string{"direction"}, func(n *scrape, give giveValue) {
			c := n.director.Counts()
			give(float64(c.BytesToBackend), "to_backend")
			give(float64(c.BytesToClient), "to_client")
		}, nil},
		{"roost_backend_up", gauge, "1 while health checks succeed, else 0.", []string{"backend"}, func(n *scrape, give giveValue) {
			for _, s := range n.monitor.States() {
				give(truth(s.Up), s.Name)
			}
		}, nil},
		{"roost_backend_state_seconds", gauge, "For how long roost_backend_up has been what it is.", []string{"backend"}, func(n *scrape, give giveValue) {
			for _, s := range n.monitor.States() {
				give(s.Lasts.Seconds(), s.Name)
			}
		}, nil},
		{"roost_backend_check_seconds", gauge, "How long the last health check took.", []string{"backend"}, func(n *scrape, give giveValue) {
			for _, s := range n.monitor.States() {
				give(s.Took.Seconds(), s.Name)
			}
		}, nil},
		{"roost_backend_checks_total", counter, "Health checks by result: ok, failed.", []string{"backend", "result"}, func(n *scrape, give giveValue) {
			for _, s := range n.monitor.States() {
				give(float64(s.Checks-s.Failures), s.Name, "ok")
				give(float64(s.Failures), s.Name, "failed")
			}
		}, nil},
	}
}

func storeMetrics() []metricRow {
	return []metricRow{
		{"roost_store_accounts", gauge, "Accounts whose mail is open, by state: used, or lingering after their last session.", []string{"state"}, func(n *scrape, give giveValue) {
			s := n.store.Stats()
			give(float64(s.Accounts-s.Lingering), "used")
			give(float64(s.Lingering), "lingering")
		}, nil},
		{"roost_store_memory_bytes", gauge, "About what open mail takes of mail_cache_size.", nil, func(n *scrape, give giveValue) {
			give(float64(n.store.Stats().Memory))
		}, nil},
		{"roost_store_open_files", gauge, "Files of mail that stay open.", nil, func(n *scrape, give giveValue) {
			give(float64(n.store.Stats().Files))
		}, nil},
		{"roost_store_commit_duration_seconds", 0, "How long it took to make changes durable; one commit may serve many.", nil, nil, func(n *scrape, give giveTimes) {
			give(n.store.Stats().Commits)
		}},
		{"roost_store_confirm_duration_seconds", 0, "Of roost_store_commit_duration_seconds, how long it took to confirm that no other backend has the user. Without a coordinator there is nothing to confirm.", nil, nil, func(n *scrape, give giveTimes) {
			give(n.store.Stats().Confirms)
		}},
		{"roost_store_rewritten_bytes_total", counter, "Bytes of messages that were moved to get the room of expunged ones back.", nil, func(n *scrape, give giveValue) {
			give(float64(n.store.Stats().Rewritten))
		}, nil},
		{"roost_volume_mounted", gauge, "1 if the filesystem of mail_volume is there, with its marker, else 0.", []string{"volume"}, func(n *scrape, give giveValue) {
			for _, v := range n.pulse.lastVolumes() {
				give(truth(v.Err == nil), v.Root)
			}
		}, nil},
		{"roost_volume_free_bytes", gauge, "What is free on it.", []string{"volume"}, func(n *scrape, give giveValue) {
			for _, v := range n.pulse.lastVolumes() {
				give(float64(v.Free), v.Root)
			}
		}, nil},
		{"roost_volume_ballast", gauge, "1 while its ballast is in place; 0 after the disk was full, before mail is opened there, or without mail_ballast.", []string{"volume"}, func(n *scrape, give giveValue) {
			for _, v := range n.pulse.lastVolumes() {
				give(truth(v.Ballast), v.Root)
			}
		}, nil},
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// scrape is one reading of all metrics. The map of a cluster is looked through once.
type scrape struct {
	*node
	status func() cluster.Status
}

// registry has all metrics of a node.
func (p *parts) registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		&nodeMetrics{p, describe(metricRows())},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return r
}

// nodeMetrics reads the table for a scrape.
type nodeMetrics struct {
	parts *parts
	rows  []describedRow
}

type describedRow struct {
	metricRow
	desc *prometheus.Desc
}

func describe(rows []metricRow) []describedRow {
	var all []describedRow
	for _, r := range rows {
		all = append(all, describedRow{r, prometheus.NewDesc(r.name, r.help, r.labels, nil)})
	}
	return all
}

// Describe implements prometheus.Collector.
func (m *nodeMetrics) Describe(descs chan<- *prometheus.Desc) {
	for _, r := range m.rows {
		descs <- r.desc
	}
}

// Collect implements prometheus.Collector.
func (m *nodeMetrics) Collect(out chan<- prometheus.Metric) {
	n := &scrape{node: m.parts.latest()}
	n.status = sync.OnceValue(func() cluster.Status { return n.observed.view.Status() })
	for _, r := range m.rows {
		if r.read != nil {
			r.read(n, func(value float64, labels ...string) {
				out <- prometheus.MustNewConstMetric(r.desc, r.kind, value, labels...)
			})
			continue
		}
		r.times(n, func(s metric.Snapshot, labels ...string) {
			buckets := make(map[float64]uint64, len(s.Upto))
			for i, upto := range s.Upto {
				buckets[metric.Bounds[i].Seconds()] = upto
			}
			out <- prometheus.MustNewConstHistogram(r.desc, s.Count, s.Sum.Seconds(), buckets, labels...)
		})
	}
}
