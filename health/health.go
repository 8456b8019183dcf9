// Package health checks backends as a client would: it connects, waits for the
// greeting, logs a user in who is there for that, and writes into that user's
// mailbox.
//
// What it finds is an observation. It never changes what an administrator wishes
// of a backend, moves nobody, and decides nothing where a lease says
// who serves a user. Elsewhere, a backend that does not even greet lets logins
// be refused at once (Refuses), which would else wait for their time-out. A
// backend that greets but fails later, as with a wrong password of the probe, is
// only shown as down.
//
// A Monitor keeps what was observed of each backend, and nothing else does.
package health

import (
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/imapclient"
)

// Target is a backend to be checked.
type Target struct {
	Name     string // as the administrator names it
	Addr     string // HOST:PORT
	Host     string // what its certificate is for
	Security imapclient.Security
	AnyCert  bool
	Proxied  bool // connections begin with a PROXY header
}

// Settings say how checks are made. The zero Settings check nothing.
type Settings struct {
	Interval time.Duration // between two checks of a backend, from 0.9 to 1.1 of it; 0: none
	Timeout  time.Duration // for all of a check
	Rise     int           // checks in a row that succeed until a backend counts as up
	Fall     int           // checks in a row that fail until it counts as down

	// User, if set, logs in, and its INBOX is opened. "%{backend}" in it stands for
	// the Target's name: where backends share a filesystem each needs a user of its own.
	User, Password string

	// Write has a message put into the user's mailbox Mailbox, and expunged.
	Write bool
}

// Mailbox is where Settings.Write puts messages. It is made if it is missing.
const Mailbox = "Probe"

// Config is what a Monitor needs.
type Config struct {
	Clock cluster.Clock
	Log   *slog.Logger

	// Targets and Settings are asked before each round, so that both may change.
	Targets  func() []Target
	Settings func() Settings

	// TLS gives the configuration for connections to targets that want it.
	TLS func() *tls.Config
}

// Step is a part of a check.
type Step string

// The steps, in their order.
const (
	Connect  Step = "connect"
	Greeting Step = "greeting" // with TLS, if that is asked for
	Login    Step = "login"
	Open     Step = "open"
	Write    Step = "write"
)

// State is what is known of a backend.
type State struct {
	Target

	Checked bool // at least one check has ended
	Up      bool // until it was checked, too

	// Reason is why the last check failed, beginning with its step: "greeting: timed
	// out after 2s". It is empty if that succeeded, which may be before Up is true again.
	Reason string

	Since    time.Time     // when Up became what it is, or the checks began; for display
	Lasts    time.Duration // for how long
	Took     time.Duration // the last check
	Checks   int64         // so far
	Failures int64         // of them
}

// Failure is an error of a check.
type Failure struct {
	Step Step
	Err  error
}

func (f *Failure) Error() string { return string(f.Step) + ": " + f.Err.Error() }

func (f *Failure) Unwrap() error { return f.Err }
