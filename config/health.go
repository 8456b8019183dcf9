package config

import (
	"net"
	"strings"
	"time"
)

// Health says how backends are checked, and where a node tells how it does.
type Health struct {
	Interval, Timeout time.Duration
	Rise, Fall        int
	SSL               string // no, imaps or starttls
	User, Password    string // User may hold %{backend}
	Write             bool

	Listen string // ADDRESS:PORT of /healthz, /readyz and /metrics; empty: nowhere
}

// checkHealth looks at how backends are checked.
func (p *parser) checkHealth(s *Settings) {
	h := &s.Health
	if h.Interval != 0 && h.Interval < time.Second {
		p.errorf(s.Where("health_check_interval"), "health_check_interval: at least a second, or 0")
	}
	if h.Timeout < 100*time.Millisecond {
		p.errorf(s.Where("health_check_timeout"), "health_check_timeout: at least 100 milliseconds")
	}
	if h.Rise < 1 || h.Fall < 1 {
		p.errorf(s.Where("health_check_rise"), "health_check_rise, health_check_fall: at least 1")
	}
	if rest := strings.ReplaceAll(h.User, "%{backend}", ""); strings.Contains(rest, "%") {
		p.errorf(s.Where("health_check_user"), "health_check_user: the only variable in it is %%{backend}")
	}
	if h.Write && h.User == "" {
		p.errorf(s.Where("health_check_write"), "health_check_write: whose mailbox? health_check_user is not set")
	}
	if h.Listen == "" {
		return
	}
	if _, port, err := net.SplitHostPort(h.Listen); err != nil || port == "" {
		p.errorf(s.Where("metrics_listen"), "metrics_listen: %q is not ADDRESS:PORT", h.Listen)
	}
}
