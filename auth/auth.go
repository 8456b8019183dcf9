// Package auth is who a user is: user names and their one normal form, passdbs
// and userdbs, master users, groups, and delays for those who guess.
//
// It answers one question, Authenticate (whose mail may this client open, and as
// whom?), and Lookup, the same without a password; Keys is what comes before
// Authenticate where a client proves that it knows the password without sending it. A login names an owner, whose
// mail is opened, and an acting user, whose rights apply; they differ in a master
// login only, and are compared only after normalisation (Names).
//
// State is owned here and bounded: the contents of passwd-files (passwdFile), the
// failures of recent logins (penalties), the turns at expensive password hashes and
// the memory for them (hasher), how such checks ended (cache, without passwords),
// and keys for SCRAM that were derived (derivedKeys). An Authenticator is otherwise immutable and safe for
// concurrent use. Every wait ends with the caller's context.
//
// What it does not do: it opens no mail, decides no rights, and does not judge
// whether a connection is secured; it never logs or returns a stored password.
package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/sasl"
)

// Authenticator answers who a user is. It is safe for concurrent use.
type Authenticator struct {
	names        *Names
	masters      []*passdb
	passdbs      []*passdb
	userdbs      []*userdb
	hasher       *hasher
	penalties    *penalties
	failureDelay time.Duration
	expand       Expand
	proxySelf    []netip.Addr
	resolver     Resolver
	files        *passwdFiles
	log          *slog.Logger
}

// Request is one attempt to log in. Fields that a client or a proxy may forward
// have no place in it: they can never be taken for fields of a passdb.
type Request struct {
	Mechanism string // as package sasl names it
	AuthzID   string // SASL authorization identity; empty if none was sent
	AuthID    string // SASL authentication identity, or the name of LOGIN
	Password  string
	Proof     *sasl.Proof // instead of a password: what a SCRAM exchange with Keys came to

	// RemoteAddr is the client that began the chain of proxies, as far as the
	// peers that told it are trusted; PeerAddr is the other end of the connection.
	RemoteAddr netip.Addr
	PeerAddr   netip.Addr
	LocalAddr  netip.Addr
	RemotePort uint16 // of RemoteAddr
	LocalPort  uint16
	Service    string // "imap", "lmtp"
	SessionID  string
	Secured    bool

	// Delegated says that another node of ours vouches for AuthID, who wants AuthzID's
	// mail: the names are normalised, and there is no password. What master passdbs
	// say does not matter; all else is as in a master login.
	Delegated bool

	// NoMaster refuses master logins, whatever the password: they are not for the port that
	// the client has connected to.
	NoMaster bool

	// Internal is a proxy or a backend of ours that logs in for itself, and Probe a health
	// check of ours: neither is delayed or counted as a guess.
	Internal, Probe bool
}

// Result is a user who may log in, or exists.
type Result struct {
	// User is the owner, whose mail is opened. Acting is whose rights apply;
	// it equals User in a normal login. Both are normalised. A field acl_user
	// in UserFields names another user for the rights: whoever honours it takes
	// the groups from a Lookup of that user.
	User, Acting string
	// Groups are the acting user's own (acl_groups), never the owner's in a
	// master login. A master passdb may give others by userdb_acl_groups: then no
	// Lookup knows them.
	Groups      []string
	GroupsGiven bool
	// Fields are the passdbs' extra fields: proxy, host, port, pass, destuser,
	// master, reason … If pass is missing, a proxy sends what the client sent.
	// They may hold a password and are not for the log.
	Fields Fields
	// UserFields are the userdb's: uid, gid, home, mail and settings of the
	// user. A master passdb's userdb_ fields override the user's own. It never
	// has acl_groups: that is Groups.
	UserFields Fields
	// ActingFields are the passdb's fields of the acting user of a master login.
	ActingFields Fields
	// OriginalUser is the owner's name as it was typed, for logs only.
	OriginalUser string
}

// Master says whether one user acts on another's mail.
func (r *Result) Master() bool { return r.User != r.Acting }

// New checks the settings. Files are read at the first login.
func New(config Config) (*Authenticator, error) {
	a := &Authenticator{
		hasher:       newHasher(config.HashWorkers, config.Cache, config.Secret),
		penalties:    newPenalties(config.MaxPenalty),
		failureDelay: config.FailureDelay,
		expand:       config.Expand,
		proxySelf:    config.ProxySelf,
		resolver:     resolverOr(config.Resolver),
		log:          config.Log,
	}
	if a.expand == nil {
		a.expand = expandVariables
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if a.names, err = NewNames(config.Names, a.expand); err != nil {
		return nil, err
	}
	a.files = newPasswdFiles(a.log)
	b := &builder{expand: a.expand, files: a.files, schemes: a.hasher.schemes}
	for i, c := range config.Passdbs {
		db, err := b.passdb(c)
		if err != nil {
			return nil, fmt.Errorf("passdb %d (%s): %w", i+1, label(c.Name, c.Driver), err)
		}
		if db.master {
			a.masters = append(a.masters, db)
		} else {
			a.passdbs = append(a.passdbs, db)
		}
	}
	for i, c := range config.Userdbs {
		db, err := b.userdb(c)
		if err != nil {
			return nil, fmt.Errorf("userdb %d (%s): %w", i+1, label(c.Name, c.Driver), err)
		}
		a.userdbs = append(a.userdbs, db)
	}
	return a, nil
}

// Names is the normal form of user names, for all who compare them.
func (a *Authenticator) Names() *Names { return a.names }

// Authenticate checks a login. Its errors are *imap.Error: AUTHENTICATIONFAILED;
// AUTHORIZATIONFAILED where the password was right but the login is not allowed;
// UNAVAILABLE if no answer can be given now. Their cause names database, user and
// reason for the log, never a password. A refusal takes FailureDelay at least,
// and an attempt after failures of the same login from the same client waits
// before it is looked at; ctx ends both.
func (a *Authenticator) Authenticate(ctx context.Context, req Request) (*Result, error) {
	login, err := a.names.of(req)
	if err != nil {
		return nil, a.refuse(ctx, imap.Wrap(imap.CodeAuthenticationFailed, textFailed, err))
	}
	result, err := a.guarded(ctx, login, req)
	if err != nil {
		return nil, a.refuse(ctx, wrap(err, login))
	}
	return result, nil
}

// guarded is login after the delay that earlier failures ask for.
func (a *Authenticator) guarded(ctx context.Context, login Login, req Request) (*Result, error) {
	if req.Probe || req.Internal {
		return a.login(ctx, login, req)
	}
	key := newPenaltyKey(req.RemoteAddr, login)
	leave, err := a.penalties.enter(ctx, key)
	if err != nil {
		return nil, err
	}
	defer leave()
	result, err := a.login(ctx, login, req)
	switch {
	case err == nil:
		a.penalties.succeeded(key)
	case wrap(err, login).Code == imap.CodeAuthenticationFailed:
		a.penalties.failed(key, a.hasher.attempt(req))
	}
	return result, err
}

// Changes counts the changes of passwd-files. It has those looked at that were used, and
// does not wait for that: what is new shows when it is called again a second later.
func (a *Authenticator) Changes() uint64 { return a.files.look() }

// Lookup is what is known of a user, without a password: deny passdbs, nologin
// and allow_nets, which concern logins, are not applied. An unknown user is
// NONEXISTENT; UNAVAILABLE means that nothing is known now.
func (a *Authenticator) Lookup(ctx context.Context, user string) (*Result, error) {
	name, err := a.names.Normalize(user)
	if err != nil {
		return nil, imap.Wrap(imap.CodeNonExistent, textUnknown, err)
	}
	login := Login{User: name, Acting: name, Original: user}
	s := a.newAttempt(login, Request{})
	s.lookup = true
	found, err := a.resolve(ctx, s)
	if errors.Is(err, errUnknown) {
		return nil, imap.Wrap(imap.CodeNonExistent, textUnknown, fmt.Errorf("user %q: %w", name, err))
	}
	if err != nil {
		return nil, wrap(err, login)
	}
	return a.result(s, found, groups(found)), nil
}

// The texts that clients see. They are the same whatever the reason.
const (
	textFailed      = "Authentication failed."
	textUnavailable = "Temporary authentication failure."
	textRefused     = "Login is not allowed."
	textUnknown     = "User doesn't exist."
)

// Causes of refusals, beside errUnknown.
var (
	errMismatch   = errors.New("password mismatch")
	errDenied     = errors.New("user is in a deny passdb")
	errNets       = errors.New("client address is not allowed")
	errPort       = errors.New("this port is not for master logins")
	errNoMaster   = errors.New("no passdb accepts master logins")
	errState      = errors.New("passdbs ended without success")
	errActing     = errors.New("acting user does not exist")
	errDelegated  = errors.New("the databases make others of the users who were asked for")
	errAlias      = errors.New("passdb made owner and acting user the same")
	errNotAllowed = errors.New("login is not allowed") // the password was right
)

// wrap is the answer to the client for the cause of a failed login.
func wrap(err error, login Login) *imap.Error {
	if refusal, ok := errors.AsType[*imap.Error](err); ok {
		return refusal
	}
	cause := fmt.Errorf("user %q: %w", login.User, err)
	if login.Master() {
		cause = fmt.Errorf("user %q, acting %q: %w", login.User, login.Acting, err)
	}
	switch {
	case errors.Is(err, errNotAllowed):
		return imap.Wrap(imap.CodeAuthorizationFailed, textRefused, cause)
	case refused(err):
		return imap.Wrap(imap.CodeAuthenticationFailed, textFailed, cause)
	}
	return imap.Wrap(imap.CodeUnavailable, textUnavailable, cause)
}

// refused says whether err is an answer, and not the lack of one.
func refused(err error) bool {
	for _, cause := range []error{
		errUnknown, errMismatch, errDenied, errNets, errPort, errNoMaster, errState, errActing, errAlias, errDelegated,
	} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// refuse holds the answer back for FailureDelay, so that guessing takes time.
// Who knew the password learns at once that it is of no use here: a back
// session for an owner who does not exist is no guess, and its delay would tell
// the two kinds of owners apart.
func (a *Authenticator) refuse(ctx context.Context, refusal *imap.Error) error {
	if refusal.Code != imap.CodeAuthorizationFailed {
		_ = sleep(ctx, a.failureDelay) // the refusal stands, however the wait ends
	}
	return refusal
}
