package imapserver

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/metric"
)

// Counts is what a Server has counted since it was made.
type Counts struct {
	Closing bool // Shutdown was called

	Sessions map[string]int64 // now, by what they are at: login, authenticated, selected, idle, proxied
	Parked   int64            // of them, those that hold next to no memory

	// BytesIn and BytesOut passed through sessions here, not through a Proxy.
	BytesIn, BytesOut int64

	// Logins are by result: ok, refused, unavailable, limited, moved. They take as
	// long as the Authenticator does. Those of a Login.Probe are left out.
	Logins map[string]metric.Snapshot

	Commands map[CommandResult]metric.Snapshot
}

// CommandResult is a command of the table, or "(unknown)", and how it was answered:
// ok, no or bad. The wait for the client is not counted, so IDLE takes no time.
type CommandResult struct{ Command, Result string }

// counters are owned by a Server.
type counters struct {
	sessions [len(phases)]atomic.Int64
	parked   atomic.Int64
	logins   [len(loginResults)]metric.Histogram
	unknown  took // commands that are not in the table
	traffic  traffic
}

// traffic is what went over all connections. A nil one counts nothing.
type traffic struct{ in, out atomic.Int64 }

func (t *traffic) read(n int) {
	if t != nil {
		t.in.Add(int64(n))
	}
}

func (t *traffic) wrote(n int) {
	if t != nil {
		t.out.Add(int64(n))
	}
}

// phase is what a session is counted as.
type phase uint8

const (
	uncounted phase = iota
	atLogin
	atAuthenticated
	atSelected
	atIdle
	atProxied
)

var phases = [...]string{"", "login", "authenticated", "selected", "idle", "proxied"}

// count has the session counted as p. It belongs to the session's goroutine.
func (s *session) count(p phase) {
	counted := phase(s.card.phase.Load())
	if p == counted {
		return
	}
	for _, change := range [...]struct {
		of phase
		by int64
	}{{counted, -1}, {p, 1}} {
		if change.of != uncounted {
			s.srv.counters.sessions[change.of].Add(change.by)
		}
	}
	s.card.phase.Store(uint32(p))
}

// phase is that of a session which waits for a command.
func (s *session) phase() phase {
	switch s.state {
	case notAuthenticated:
		return atLogin
	case selected:
		return atSelected
	}
	return atAuthenticated
}

const (
	loginOK = iota
	loginRefused
	loginUnavailable
	loginLimited
	loginMoved
)

var loginResults = [...]string{"ok", "refused", "unavailable", "limited", "moved"}

// countLogin counts how a login ended.
func (s *session) countLogin(login *Login, err error, took time.Duration) {
	if login != nil && login.Probe {
		return
	}
	result := loginRefused
	switch code := imap.CodeOf(err); {
	case err == nil:
		result = loginOK
	case strings.HasPrefix(string(code), string(imap.CodeMoved)):
		result = loginMoved
	case code == imap.CodeUnavailable, code == imap.CodeServerBug:
		result = loginUnavailable
	case code == imap.CodeLimit, code == imap.CodeInUse:
		result = loginLimited
	}
	s.srv.counters.logins[result].Observe(took)
}

// took is how long the answers to a command took, by their results.
type took [len(results)]metric.Histogram

var results = [...]string{"ok", "no", "bad"}

// countedRow is a command with what is counted of it.
type countedRow struct {
	*row
	took *took
}

// countedRows are commandRows.
func countedRows() map[string]countedRow {
	rows := map[string]countedRow{}
	for name, r := range commandRows() {
		rows[name] = countedRow{r, new(took)}
	}
	return rows
}

// count counts how a command was answered.
func (t *took) count(err error, d time.Duration) {
	switch {
	case err == nil:
		t[0].Observe(d)
	case imap.AsError(err).Bad:
		t[2].Observe(d)
	default:
		t[1].Observe(d)
	}
}

// Counts reads what was counted, while counting goes on. It may be called by any
// goroutine.
func (s *Server) Counts() Counts {
	c := Counts{
		Closing:  s.isClosing(),
		Sessions: map[string]int64{}, Logins: map[string]metric.Snapshot{}, Commands: map[CommandResult]metric.Snapshot{},
		Parked: s.counters.parked.Load(), BytesIn: s.counters.traffic.in.Load(), BytesOut: s.counters.traffic.out.Load(),
	}
	for p, name := range phases {
		if phase(p) != uncounted {
			c.Sessions[name] = s.counters.sessions[p].Load()
		}
	}
	for i, name := range loginResults {
		c.Logins[name] = s.counters.logins[i].Read()
	}
	c.addCommand(unknownRow.name, &s.counters.unknown)
	for name, r := range s.rows {
		c.addCommand(name, r.took)
	}
	return c
}

// addCommand adds what was counted of a command that came at all.
func (c *Counts) addCommand(name string, t *took) {
	for i, result := range results {
		if d := t[i].Read(); d.Count > 0 {
			c.Commands[CommandResult{name, result}] = d
		}
	}
}
