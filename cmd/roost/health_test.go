package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/health"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
)

// awaitHealth waits until what is known of a node's backends is as wanted.
func awaitHealth(t *testing.T, n *node, what string, wanted func([]health.State) bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		states := n.monitor.States()
		if wanted(states) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not so: %+v", what, states)
		}
	}
}

// TestBackendChecksItself: the probe's logins leave nothing behind, are in nobody's way
// and not in the log; a wrong password is told once, and delays nothing.
func TestBackendChecksItself(t *testing.T) {
	const settings = `
health_check_interval = 1 s
health_check_user = probe-%{backend}
health_check_write = yes
instance_name = be1
mail_max_userip_connections = 1
`
	s := startSingle(t, settings+"health_check_password = secret\n")
	held, err := imapclient.Dial(t.Context(), "tcp", s.plain, imapclient.Config{Timeout: patience})
	if err == nil {
		_, err = held.Login(t.Context(), "probe-be1", "secret") // is a probe as well: uncounted
	}
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	awaitHealth(t, s.node, "checks that succeed", func(states []health.State) bool {
		return len(states) == 1 && states[0].Checks >= 2 && states[0].Failures == 0
	})
	var status imapclient.StatusData
	h := &imapclient.Handler{MailboxStatus: func(d *imapclient.StatusData) { status = *d }}
	if _, err := held.Do(t.Context(), h, func(e *imapwire.Encoder) { e.RawString("STATUS " + health.Mailbox + " (MESSAGES)") }); err != nil || status.Messages > 1 {
		t.Errorf("%s has %d messages, %v", health.Mailbox, status.Messages, err)
	}
	if log := s.log.take(); strings.Contains(log, "msg=login") || strings.Contains(log, "msg=logout") {
		t.Errorf("the log is full of probes:\n%s", log)
	}

	s.write(t, settings+"health_check_password = wrong\n")
	if _, _, err := s.node.reload(s.file); err != nil {
		t.Fatal(err)
	}
	awaitHealth(t, s.node, "a backend that is down", func(states []health.State) bool {
		return !states[0].Up && strings.HasPrefix(states[0].Reason, "login: [AUTHENTICATIONFAILED]")
	})
	if _, yes := s.node.monitor.Refuses(s.plain); yes {
		t.Error("a wrong password of the probe locks users out")
	}
	if n := strings.Count(s.log.take(), "backend is down"); n != 1 {
		t.Errorf("the log says %d times that it is down", n)
	}
}

// TestChecksItselfBehindProxies: a backend all of whose listeners are for proxies says in a
// header that it comes by itself, if it may; else it does not check itself.
func TestChecksItselfBehindProxies(t *testing.T) {
	const settings = `
health_check_interval = 1 s
health_check_user = probe-%{backend}
health_check_password = secret
health_check_write = yes
instance_name = be1
service imap-login {
  inet_listener imap {
    haproxy = yes
  }
  inet_listener imaps {
    haproxy = yes
  }
}
`
	s := startSingle(t, settings+"haproxy_trusted_networks = 127.0.0.1/32\n")
	awaitHealth(t, s.node, "checks that succeed", func(states []health.State) bool {
		return len(states) == 1 && states[0].Checks >= 2 && states[0].Failures == 0
	})
	if log := s.log.take(); strings.Contains(log, "msg=login") || strings.Contains(log, "dropped") {
		t.Errorf("the log is full of probes:\n%s", log)
	}
	other := startSingle(t, settings+"haproxy_trusted_networks = 192.0.2.1/32\n")
	if _, is := selfTarget(other.node.set); is {
		t.Error("it checks itself where its connections are dropped")
	}
}

// TestProbeUser: it is known by its normalised name, if each backend has one.
func TestProbeUser(t *testing.T) {
	for user, want := range map[string]string{"Probe-%{backend}": "probe-be1", "probe": "", "": ""} {
		s := startSingle(t, "instance_name = be1\nhealth_check_password = x\nhealth_check_user = "+user+"\n")
		if got, err := probeUser(s.node.set); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", user, got, err, want)
		}
	}
}

// TestDirectorRefusesDeadBackend: users of a backend that is known to be dead hear so at
// once, others notice nothing, and when it is back they can log in again.
func TestDirectorRefusesDeadBackend(t *testing.T) {
	r := startRigWith(t, "document", func(r *rig) {
		text, err := os.ReadFile(r.files["director"])
		if err != nil {
			t.Fatal(err)
		}
		port := fmt.Sprint(":", r.port)
		listed := strings.Replace(string(text), "127.0.1.11 127.0.1.12", "127.0.1.11"+port+" 127.0.1.12"+port, 1)
		if err := os.WriteFile(r.files["director"], []byte(listed+"health_check_interval = 1 s\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	director := r.nodes["director"]
	be1 := fmt.Sprintf("%s:%d", rigAddrs["be1"], r.port)
	refuses := func(want bool) func([]health.State) bool {
		return func([]health.State) bool { _, yes := director.monitor.Refuses(be1); return yes == want }
	}
	login := func(user string) error {
		c, err := imapclient.Dial(t.Context(), "tcp", r.address(), imapclient.Config{Timeout: patience})
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Login(t.Context(), user, "pass")
		return err
	}
	on1, on2 := userOf(t, director, be1), userOf(t, director, fmt.Sprintf("%s:%d", rigAddrs["be2"], r.port))
	r.stop(t, "be1")
	awaitHealth(t, director, "be1 is refused", refuses(true))
	if rows := statusOf(t, director); !strings.Contains(rows, be1+" - 100 up - 0 down for ") || !strings.Contains(rows, ": connect: ") {
		t.Errorf("director status: what is wished, and what is observed:\n%s", rows)
	}
	if err := login(on1); imap.CodeOf(err) != imap.CodeUnavailable {
		t.Errorf("%s of be1: %v", on1, err)
	}
	if err := login(on2); err != nil {
		t.Errorf("%s of be2: %v", on2, err)
	}
	r.start(t, "be1", nil)
	awaitHealth(t, director, "be1 is back", refuses(false))
	if err := login(on1); err != nil {
		t.Errorf("%s after be1 is back: %v", on1, err)
	}
}

// statusOf is the table of `roost director status`.
func statusOf(t *testing.T, n *node) string {
	t.Helper()
	op, _ := admin.Find("director status")
	res, err := n.administration.admin.Call(t.Context(), admin.Caller{Name: "test"}, op, admin.Args{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, row := range res.Table().Rows {
		b.WriteString(strings.Join(row, " ") + "\n")
	}
	return b.String()
}

// userOf is one of the rig's users who lives at an address.
func userOf(t *testing.T, director *node, addr string) string {
	t.Helper()
	locator, err := newLocator(t.Context(), director.set)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 9 {
		user := fmt.Sprint("someone", i+1)
		b, err := locator.Locate(t.Context(), cluster.Query{User: user})
		if err == nil && b.Addr(143).String() == addr {
			return user
		}
	}
	t.Fatalf("nobody lives at %s", addr)
	return ""
}
