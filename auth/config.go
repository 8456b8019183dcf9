package auth

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"
)

// Config is the settings of an Authenticator. The zero value of a field is the
// setting's absence; defaults are the caller's.
type Config struct {
	Names   NameConfig
	Passdbs []PassdbConfig
	Userdbs []UserdbConfig

	// FailureDelay (auth_failure_delay) is how long every refusal takes at least.
	FailureDelay time.Duration
	// MaxPenalty is the longest that an attempt waits after failures of the same
	// login from the same client; 0 is never.
	MaxPenalty time.Duration
	// HashWorkers is how many expensive password hashes are computed at once;
	// 0 is one per processor.
	HashWorkers int
	Cache       CacheConfig
	// Secret makes the keys that Keys invents the same after a restart and on
	// several directors. Nobody may be able to guess it; empty is a random one.
	Secret []byte

	// ProxySelf are addresses of this host, beside the one that a client has connected
	// to (auth_proxy_self). Resolver finds those of other hosts; nil is the system's.
	ProxySelf []netip.Addr
	Resolver  Resolver

	Expand Expand       // nil: %u, %{user}, %% and the modifiers L and U
	Log    *slog.Logger // nil: nothing is logged
}

// PassdbConfig is a block passdb { }.
type PassdbConfig struct {
	Name   string // for the log; empty: the driver's name
	Driver string // passwd-file or static
	Args   string

	Master bool // consulted for master logins only, and for nothing else
	Deny   bool // users found here are refused
	Pass   bool // another way to write result_success = continue
	Skip   string

	ResultSuccess, ResultFailure, ResultInternalFail string
	DefaultFields, OverrideFields                    string
}

// UserdbConfig is a block userdb { }.
type UserdbConfig struct {
	Name   string // for the log; empty: the driver's name
	Driver string // passwd-file, static or prefetch
	Args   string
	Skip   string

	ResultSuccess, ResultFailure, ResultInternalFail string
	DefaultFields, OverrideFields                    string
}

// outcome is what one database says.
type outcome int

const (
	outcomeOK outcome = iota
	outcomeFailure
	outcomeInternal
)

// action is what follows from it: the values of result_success, result_failure
// and result_internalfail.
type action int

const (
	actionReturn       action = iota // stop; the state stays
	actionReturnOK                   // stop with success
	actionReturnFail                 // stop with failure
	actionContinue                   // go on; the state stays
	actionContinueOK                 // go on; the state is success
	actionContinueFail               // go on; the state is failure
)

// continues says whether the next database is asked.
func (a action) continues() bool { return a >= actionContinue }

// state is the state of the chain after a, given the one before.
func (a action) state(before bool) bool {
	switch a {
	case actionReturnOK, actionContinueOK:
		return true
	case actionReturnFail, actionContinueFail:
		return false
	}
	return before
}

// rules are a database's actions by outcome.
type rules [3]action

func parseRules(success, failure, internal string) (rules, error) {
	var r rules
	for i, text := range [3]string{outcomeOK: success, outcomeFailure: failure, outcomeInternal: internal} {
		switch text {
		case "":
			r[i] = actionContinue
			if outcome(i) == outcomeOK {
				r[i] = actionReturnOK
			}
		case "return":
			r[i] = actionReturn
		case "return-ok":
			r[i] = actionReturnOK
		case "return-fail":
			r[i] = actionReturnFail
		case "continue":
			r[i] = actionContinue
		case "continue-ok":
			r[i] = actionContinueOK
		case "continue-fail":
			r[i] = actionContinueFail
		default:
			return r, fmt.Errorf("unknown result action %q", text)
		}
	}
	return r, nil
}

// passdb is a checked PassdbConfig.
type passdb struct {
	label    string
	source   source
	master   bool
	deny     bool
	skip     string // never, authenticated or unauthenticated
	rules    rules
	defaults []field
	override []field
}

// userdb is a checked UserdbConfig.
type userdb struct {
	label    string
	source   source // nil: prefetch
	skip     string // never, found or notfound
	rules    rules
	defaults []field
	override []field
}

// builder makes databases out of their settings. A file that several name is
// kept once.
type builder struct {
	expand  Expand
	files   *passwdFiles
	schemes schemeTable
}

func (b *builder) passdb(c PassdbConfig) (*passdb, error) {
	if c.Pass && c.ResultSuccess == "" {
		c.ResultSuccess = "continue"
	}
	db := &passdb{label: label(c.Name, c.Driver), master: c.Master, deny: c.Deny}
	var err error
	if db.rules, err = parseRules(c.ResultSuccess, c.ResultFailure, c.ResultInternalFail); err != nil {
		return nil, err
	}
	if db.master && (db.rules[outcomeFailure].state(false) || db.rules[outcomeInternal].state(false)) {
		return nil, fmt.Errorf("result_failure and result_internalfail of a master passdb cannot be a success")
	}
	if db.skip, err = oneOf("skip", c.Skip, "never", "authenticated", "unauthenticated"); err != nil {
		return nil, err
	}
	if db.defaults, err = b.fields(c.DefaultFields); err != nil {
		return nil, err
	}
	if db.override, err = b.fields(c.OverrideFields); err != nil {
		return nil, err
	}
	db.source, err = b.source(c.Driver, c.Args, true)
	return db, err
}

func (b *builder) userdb(c UserdbConfig) (*userdb, error) {
	db := &userdb{label: label(c.Name, c.Driver)}
	var err error
	if db.rules, err = parseRules(c.ResultSuccess, c.ResultFailure, c.ResultInternalFail); err != nil {
		return nil, err
	}
	if db.skip, err = oneOf("skip", c.Skip, "never", "found", "notfound"); err != nil {
		return nil, err
	}
	if db.defaults, err = b.fields(c.DefaultFields); err != nil {
		return nil, err
	}
	if db.override, err = b.fields(c.OverrideFields); err != nil {
		return nil, err
	}
	if c.Driver == "prefetch" {
		return db, nil
	}
	db.source, err = b.source(c.Driver, c.Args, false)
	return db, err
}

// fields parses a list of fields and tries their variables once, so that an
// unknown one is an error at start and not at the first login.
func (b *builder) fields(text string) ([]field, error) {
	fields, err := parseFields(text)
	if err != nil {
		return nil, err
	}
	return fields, expandFields(Fields{}, fields, b.expand, (&attempt{}).value)
}

func label(name, driver string) string {
	if name == "" {
		return driver
	}
	return name
}

// oneOf is a setting that must be one of allowed; empty is the first.
func oneOf(setting, text string, allowed ...string) (string, error) {
	if text == "" {
		return allowed[0], nil
	}
	for _, a := range allowed {
		if a == text {
			return a, nil
		}
	}
	return "", fmt.Errorf("%s = %s: expected one of %s", setting, text, strings.Join(allowed, ", "))
}
