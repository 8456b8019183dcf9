package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// The limits of the server of metrics: it is asked every few seconds by a few.
const (
	maxScrapes     = 4
	maxScrapeConns = 64
	scrapeTimeout  = 10 * time.Second
)

// metricsServer serves /healthz, /readyz and /metrics.
func (p *parts) metricsServer() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", p.serveHealthz)
	mux.HandleFunc("GET /readyz", p.serveReadyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.registry(), promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout,
	}))
	var conns atomic.Int64
	return &http.Server{
		Handler: mux, MaxHeaderBytes: 8 << 10,
		ReadTimeout: scrapeTimeout, WriteTimeout: 2 * scrapeTimeout, IdleTimeout: time.Minute,
		ConnState: func(c net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				if conns.Add(1) > maxScrapeConns {
					_ = c.Close()
				}
			case http.StateClosed, http.StateHijacked:
				conns.Add(-1)
			}
		},
	}
}

// serveHealthz answers whether the process is of any use; if not, end it.
func (p *parts) serveHealthz(w http.ResponseWriter, _ *http.Request) {
	if late := p.pulse.late(); late != "" {
		http.Error(w, late, http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}

// serveReadyz answers whether logins should come here, with the reasons if not.
func (p *parts) serveReadyz(w http.ResponseWriter, r *http.Request) {
	all := p.latest().conditions()
	status := http.StatusOK
	if !fulfilledAll(all) {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Cache-Control", "no-store")
	if !strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, conditionsText(all))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Ready      bool        `json:"ready"`
		Conditions []condition `json:"conditions"`
	}{fulfilledAll(all), all})
}

// listenMetrics opens the port of metrics_listen, if there is one.
func (n *node) listenMetrics(ctx context.Context) error {
	if n.set.Health.Listen == "" {
		return nil
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", n.set.Health.Listen)
	if err != nil {
		return fmt.Errorf("%s: metrics_listen: %w", n.set.Where("metrics_listen"), err)
	}
	n.metrics, n.metricsAt = n.metricsServer(), ln
	return nil
}

// serveMetrics serves that port, until ctx ends.
func (n *node) serveMetrics(ctx context.Context) {
	if n.metrics == nil {
		return
	}
	n.log.Info("metrics", "addr", n.metricsAt.Addr().String())
	stop := context.AfterFunc(ctx, func() { _ = n.metrics.Close() })
	defer stop()
	if err := n.metrics.Serve(n.metricsAt); err != nil && ctx.Err() == nil {
		n.log.Error("metrics are no longer served", "error", err)
	}
}
